"""The Hugging Face Trainer: a callback that prunes the model that is trained.

Needs ``pip install 'secateur[transformers]'``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from secateur.core.errors import MissingExtraError, SecateurError
from secateur.core.paths import write_whole
from secateur.pruning.spec import PruningSpec
from secateur.training.callbacks._start import begin
from secateur.training.pruner import Pruner

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise MissingExtraError("transformers", "transformers", "the Hugging Face callback") from error

FILE = "pruner.pt"


class Pruning(TrainerCallback):
    """Make a pruner when the training starts and step it after every step of the optimizer.

    The pruner's state is written beside the trainer's own in every checkpoint (``pruner.pt``), and a training that
    is resumed goes on from it.

    Args:
        start: makes the pruner from the model and its optimizer, for example
            ``lambda model, optimizer: Pruner(model, Polynomial(0.9, end=1000), optimizer)``; with a spec the
            schedule alone.
        spec: what is cut how.
    """

    def __init__(self, start: Any, spec: PruningSpec | None = None):
        self._start, self._spec = start, spec
        self.pruner: Pruner | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                       **given: Any) -> None:
        """Make the pruner; where the training is resumed, from the checkpoint.

        Raises:
            SecateurError: the checkpoint that the training is resumed from holds no pruner.
        """
        saved = torch.load(_checkpoint_file(args, state), weights_only=True) if state.global_step else None
        # accelerate wraps the optimizer
        optimizer = getattr(given["optimizer"], "optimizer", given["optimizer"])
        self.pruner = begin(self._start, self._spec, given["model"], optimizer, saved)

    def on_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                          **given: Any) -> None:
        """Step the pruner while the gradients are still there."""
        assert self.pruner is not None
        self.pruner.step()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Write the pruner's state into the checkpoint."""
        assert self.pruner is not None
        if state.is_world_process_zero:
            with write_whole(_folder(args, state) / FILE) as scratch:
                torch.save(self.pruner.state_dict(), scratch)


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    """The checkpoint of the present step."""
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _checkpoint_file(args: TrainingArguments, state: TrainerState) -> Path:
    """The pruner's file of the checkpoint that the training is resumed from."""
    given = args.resume_from_checkpoint
    places = [_folder(args, state), *([Path(given)] if isinstance(given, str) else [])]
    files = [place / FILE for place in places if (place / FILE).exists()]
    if not files:
        raise SecateurError(f"no {FILE} in {' or '.join(map(str, places))}: allowed is a checkpoint saved with this "
                            "callback")
    return files[-1]
