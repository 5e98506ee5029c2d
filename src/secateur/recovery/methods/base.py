"""The contract of a recovery: the network as it was and as it is cut in, a better cut network out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from secateur.core.types import Plan
from secateur.data.calibration import Calibration


@dataclass(frozen=True, eq=False)
class Patient:
    """What a recovery works on.

    Attributes:
        original: the network before the cut; never changed.
        pruned: the cut network, a copy that the recovery may write to: weights zeroed, or units gone.
        plan: what was cut.
        samples: the calibration samples, where ``data=`` was given.
        seed: what a recovery that draws at random draws from.
        seen: takes, of each layer that is refitted, how many rows of data it was fitted to and how many inputs a row
            has; layers with fewer rows than inputs are told of.
    """

    original: nn.Module
    pruned: nn.Module
    plan: Plan
    samples: Calibration | None
    seed: int = 0
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)


class Recovery(ABC):
    """Wins accuracy back after a cut; its settings are the fields of a frozen dataclass.

    ``needs`` names what it cannot do without: ``data`` (inputs), ``labels`` (data with labels). What
    was cut stays cut: zeroed weights are zero afterwards. ``control`` marks a baseline; ``chooses`` says whether
    it chooses itself which weights go, so that of a plan's choice only the counts are left.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    control: ClassVar[bool] = False

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Whether it chooses anew what goes, in a plan of these granularities."""
        return False

    def check(self) -> None:  # noqa: B027
        """Raise a SecateurError where settings are missing without which it can do nothing."""

    @abstractmethod
    def recover(self, patient: Patient) -> nn.Module:
        """The cut network with its accuracy won back; ``patient.pruned`` itself or another."""


CONTRACT = Recovery
