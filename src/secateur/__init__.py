"""How much of a neural network can you cut, and what does the cut buy on your own machine?

::

    import secateur as sc

    plan = sc.plan(model, sparsity=0.9)                   # exactly what goes, nothing touched
    sparse = sc.apply(model, plan)                        # weights zeroed; ``model`` untouched
    fast = sc.compile(sparse, x)                          # same outputs, sparse kernels
    small = sc.prune(model, sparsity=0.5, granularity="neuron", example=x)
    print(sc.compare(model, small, x))                    # parameters, bytes, FLOPs, ms, agreement
    sc.save(small, "small.safetensors")                   # and back: sc.load("small.safetensors", make_model)
    sc.export(small, "small.onnx", x)                     # checked with ONNX Runtime before it is left
    pruner = sc.Pruner(model, 0.9, optimizer)             # while any loop trains it: pruner.step()
    run = sc.study(make_model, data, sc.StudyConfig())    # the sweep, resumable
"""

from secateur.core import interruption

interruption.watch()

from secateur import models
from secateur.api import compare, prune
from secateur.core.errors import SecateurError
from secateur.core.types import Group, Plan, Structure, Target
from secateur.core.version import __version__
from secateur.experiment.config import StudyConfig
from secateur.experiment.run import load_run
from secateur.experiment.study import study
from secateur.files import load, save
from secateur.files.exporters import export
from secateur.pruning.apply import apply
from secateur.pruning.dry_run import DryRun, dry_run, targets
from secateur.pruning.plan import plan
from secateur.pruning.sensitivity import sensitivity
from secateur.runtime import compile
from secateur.training.pruner import Pruner

__all__ = [
           "DryRun",
           "Group",
           "Plan",
           "Pruner",
           "SecateurError",
           "Structure",
           "StudyConfig",
           "Target",
           "__version__",
           "apply",
           "compare",
           "compile",
           "dry_run",
           "export",
           "load",
           "load_run",
           "models",
           "plan",
           "prune",
           "save",
           "sensitivity",
           "study",
           "targets",
]
