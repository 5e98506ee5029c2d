"""What wins accuracy back after a cut, without labels or with them: one frozen dataclass each.

``secateur.recovery.methods.base`` holds the contract for one of your own.
"""

from __future__ import annotations

from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.best import Best
from secateur.recovery.methods.best_finetune import BestFinetune
from secateur.recovery.methods.distil import Distil
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.none import Nothing
from secateur.recovery.methods.recalibrate import Recalibrate
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.methods.refit import Refit
from secateur.recovery.methods.reinitialised import Reinitialised
from secateur.recovery.methods.rewind import Rewind
from secateur.recovery.methods.sparsegpt import Sparsegpt

__all__ = ["Best", "BestFinetune", "Distil", "Finetune", "Gradual", "Nothing", "Recalibrate", "Rechoose", "Reconstruct",
           "Recovery", "RecoveryContext", "RecoveryResult", "Refit", "Reinitialised", "Rewind", "Sparsegpt"]
