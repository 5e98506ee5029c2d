"""Lightning: a callback that prunes the module that is trained. Needs ``pip install 'secateur[lightning]'``."""

from __future__ import annotations

from typing import Any

from secateur.core.errors import MissingExtraError, SecateurError
from secateur.pruning.spec import PruningSpec
from secateur.training.callbacks._start import begin
from secateur.training.pruner import Pruner

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError("lightning", "lightning", "the Lightning callback") from error


class Pruning(Callback):
    """Make a pruner when the training starts and step it after every step of the optimizer.

    Steps are those of the optimizer, ``trainer.global_step``: batches whose gradients are only accumulated do not
    count. Lightning's checkpoints hold the pruner's state, and a training that is resumed goes on from it.

    Args:
        start: makes the pruner from the module and its optimizer, for example
            ``lambda model, optimizer: Pruner(model, Polynomial(0.9, end=1000), optimizer)``; with a spec the
            schedule alone.
        spec: what is cut how.

    Raises:
        SecateurError: at the start, for a module with several optimizers.
    """

    def __init__(self, start: Any, spec: PruningSpec | None = None):
        self._start, self._spec = start, spec
        self._saved: dict[str, Any] | None = None
        self.pruner: Pruner | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the pruner; where a checkpoint was loaded, from its state."""
        if len(trainer.optimizers) != 1:
            raise SecateurError(f"the module has {len(trainer.optimizers)} optimizers: allowed is one; step a Pruner "
                                "by hand where there are several")
        self.pruner = begin(self._start, self._spec, pl_module, trainer.optimizers[0], self._saved)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Step the pruner, once for every step of the optimizer."""
        if self.pruner is not None and trainer.global_step > self.pruner.steps:
            self.pruner.step()

    def state_dict(self) -> dict[str, Any]:
        """What goes into Lightning's checkpoint."""
        return {"pruner": self.pruner.state_dict()} if self.pruner is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the training starts."""
        self._saved = state_dict.get("pruner")
