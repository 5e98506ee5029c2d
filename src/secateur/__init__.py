"""How much of a neural network can you cut, and what does the cut buy on your own machine?

::

    import secateur as sc

    plan = sc.plan(model, sparsity=0.9)                   # exactly what goes, nothing touched
    sparse = sc.apply(model, plan)                        # weights zeroed; ``model`` untouched
    fast = sc.compile(sparse, x)                          # same outputs, sparse kernels
    small = sc.prune(model, sparsity=0.5, granularity="neuron", example=x)
    sc.save(small, "small.safetensors")                   # and back: sc.load("small.safetensors", make_model)
    sc.export(small, "small.onnx", x)                     # checked with ONNX Runtime before it is left
    pruner = sc.Pruner(model, 0.9, optimizer)             # while any loop trains it: pruner.step()
    run = sc.study(make_model, data, sc.StudyConfig())    # the sweep, resumable
"""

from secateur import interruption

interruption.watch()

from secateur import sources
from secateur.apply import apply
from secateur.config import StudyConfig
from secateur.errors import SecateurError
from secateur.export import export
from secateur.files import load, save
from secateur.overview import DryRun, dry_run, targets
from secateur.prune import plan, prune
from secateur.run_load import load_run
from secateur.runtime import compile
from secateur.sensitivity import sensitivity
from secateur.study import study
from secateur.training.pruner import Pruner
from secateur.types import Group, Plan, Structure, Target
from secateur.version import __version__

__all__ = ["DryRun", "Group", "Plan", "Pruner", "SecateurError", "Structure", "StudyConfig", "Target", "__version__",
           "apply", "compile", "dry_run", "export", "load", "load_run", "plan", "prune", "save", "sensitivity",
           "sources", "study", "targets"]
