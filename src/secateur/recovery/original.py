"""The network before the cut and what it gives for the samples: computed once, for every cut of it."""

from __future__ import annotations

from functools import cached_property

from torch import nn

from secateur.data.calibration import Calibration
from secateur.recovery.distil_samples import HELD_OUT, Goals, is_divisible, split
from secateur.recovery.layerwise_passes import ROOM, Passes
from secateur.recovery.output_loss import Labels, OutputLoss, loss_for
from secateur.training.batches import Augment

_LEAST_HELD = 16
"""Of fewer samples held out nothing can be told."""


class Original:
    """A network that is never changed, with samples.

    Args:
        network: the network before the cut.
        samples: what it is asked about.
        room: bytes of the outputs of its layers that are kept.
    """

    def __init__(self, network: nn.Module, samples: Calibration, room: int = ROOM):
        self.network, self.samples, self._room = network, samples, room

    @cached_property
    def passes(self) -> Passes:
        """What its layers give for all samples."""
        return Passes(self.network, self.samples, self._room)

    @cached_property
    def divisible(self) -> bool:
        """Whether batches may be parted into samples."""
        return is_divisible(self.network, self.samples)

    @cached_property
    def few(self) -> str:
        """Why no part of the samples can be held out, as a clause; empty where one can."""
        count = sum(map(len, self.samples))
        if count < _LEAST_HELD * HELD_OUT:
            return (f"{count} {'sample is' if count == 1 else 'samples are'} too few to hold out an eighth of them; "
                    f"allowed are {_LEAST_HELD * HELD_OUT}")
        if not self.divisible and sum(1 for _ in self.samples) < HELD_OUT:
            return ("the batches cannot be parted into samples, and are too few to hold out one of them; allowed are "
                    f"{HELD_OUT}")
        return ""

    @cached_property
    def parts(self) -> tuple[Original, Original]:
        """The same network with seven eighths of the samples, and with the eighth that is held out."""
        fit, held = split(self.samples, not self.divisible)
        return Original(self.network, fit, self._room), Original(self.network, held, self._room)

    @cached_property
    def goals(self) -> Goals:
        """The samples with its outputs, to learn from."""
        return self.moving_goals(None)

    def moving_goals(self, augment: Augment | None) -> Goals:
        """The samples, changed at every step where there is an ``augment``."""
        return Goals(self.network, self.samples, self.divisible, augment)

    @cached_property
    def loss(self) -> OutputLoss:
        """How far outputs are from its own.

        Raises:
            SecateurError: see :func:`~secateur.recovery.output_loss.loss_for`.
        """
        labels: Labels = "none" if not self.samples.labelled else "values" if self.samples.own_loss else "classes"
        return loss_for(self.goals.first_steps(), labels)
