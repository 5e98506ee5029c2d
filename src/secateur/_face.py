"""The names of ``import secateur``, which :mod:`secateur` imports when the first of them is used."""

from secateur import models
from secateur.api import compare, prune, quantize, recover
from secateur.core.errors import SecateurError
from secateur.core.types import Group, Plan, Structure, Target
from secateur.core.version import __version__
from secateur.data.calibration import Samples
from secateur.experiment.config import StudyConfig
from secateur.experiment.run import load_run
from secateur.experiment.search.search import search
from secateur.experiment.study import study
from secateur.files import load, save
from secateur.files.exporters import export
from secateur.pruning.apply import apply
from secateur.pruning.dry_run import DryRun, dry_run, targets
from secateur.pruning.granularity.block import Block
from secateur.pruning.granularity.n_m import NM
from secateur.pruning.granularity.neuron import Neuron
from secateur.pruning.granularity.weight import Weight
from secateur.pruning.plan import plan
from secateur.pruning.scopes.budget import Budget
from secateur.pruning.scopes.erk import Erk
from secateur.pruning.scopes.global_ import Global
from secateur.pruning.scopes.lamp import Lamp
from secateur.pruning.scopes.layer import Layer
from secateur.pruning.scopes.owl import Owl
from secateur.pruning.scopes.sensitivity import Sensitivity
from secateur.pruning.sensitivity import sensitivity
from secateur.pruning.spec import PruningSpec
from secateur.quantization.settings import Int8
from secateur.recovery.methods.best import Best
from secateur.recovery.methods.best_finetune import BestFinetune
from secateur.recovery.methods.distil import Distil
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.recalibrate import Recalibrate
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.methods.refit import Refit
from secateur.recovery.methods.rewind import Rewind
from secateur.runtime import compile
from secateur.training import schedules
from secateur.training.pruner import Pruner

__all__ = [
    "NM",
    "Best",
    "BestFinetune",
    "Block",
    "Budget",
    "Distil",
    "DryRun",
    "Erk",
    "Finetune",
    "Global",
    "Gradual",
    "Group",
    "Int8",
    "Lamp",
    "Layer",
    "Neuron",
    "Owl",
    "Plan",
    "Pruner",
    "PruningSpec",
    "Recalibrate",
    "Rechoose",
    "Reconstruct",
    "Refit",
    "Rewind",
    "Samples",
    "SecateurError",
    "Sensitivity",
    "Structure",
    "StudyConfig",
    "Target",
    "Weight",
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
    "quantize",
    "recover",
    "save",
    "schedules",
    "search",
    "sensitivity",
    "study",
    "targets",
]
