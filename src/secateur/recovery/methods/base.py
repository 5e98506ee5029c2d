"""The contract of a recovery: the network as it was and as it is cut in, a better cut network out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import Tensor, nn

from secateur.core.items import Item
from secateur.core.types import Plan
from secateur.data.calibration import Calibration
from secateur.graph import surgery
from secateur.pruning.checks import RowCounts
from secateur.recovery.original import Original
from secateur.recovery.stages import Stage


@dataclass(frozen=True, eq=False)
class RecoveryContext:
    """What a recovery works on.

    Attributes:
        original: the network before the cut; never changed.
        pruned: the cut network, a copy that the recovery may write to: weights zeroed, or units gone.
        plan: what was cut.
        samples: the calibration samples, where ``data=`` was given.
        seed: what a recovery that draws at random draws from.
        original_asked: what the original gives for these samples, where several cuts of it are recovered and share it.
    """

    original: nn.Module
    pruned: nn.Module
    plan: Plan
    samples: Calibration | None
    seed: int = 0
    original_asked: Original | None = None

    @cached_property
    def asked(self) -> Original:
        """What the original gives for the samples, each computed once."""
        given = self.original_asked
        return given if given is not None and given.samples is self.samples else Original(self.original, self.data)

    @property
    def data(self) -> Calibration:
        """The samples, for a recovery that cannot do without (``needs``)."""
        assert self.samples is not None
        return self.samples

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """What is kept of each weight of which single items went: bool, in its shape; the rest is zero."""
        return {cut.name: cut.keep for cut in self.plan.cuts if cut.group is None}

    @cached_property
    def kept_units(self) -> dict[str, dict[int, Tensor]]:
        """Which slices of the original's tensors are left after a cut of neurons, by tensor and axis."""
        return surgery.masks(self.original, [cut for cut in self.plan.cuts if cut.group])

    @property
    def granularities(self) -> frozenset[str]:
        """What an item is in the layers of the plan."""
        return frozenset(cut.granularity or self.plan.granularity for cut in self.plan.cuts)


@dataclass(frozen=True, eq=False)
class RecoveryResult:
    """A recovered network, and what the recovery saw of the data.

    ``rows`` counts what each layer was refitted to; the caller warns where a layer has more inputs than rows. ``notes``
    say which layers were left as the cut left them, and why; ``stages`` what each step gained.
    """

    network: nn.Module
    rows: RowCounts = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()


class Recovery(Item):
    """Wins accuracy back after a cut; its settings are the fields of a frozen dataclass that checks itself.

    What was cut stays cut: zeroed weights are zero afterwards.

    Attributes:
        needs: what it cannot do without: ``data`` (inputs), ``labels`` (data with labels).
        control: whether it is a baseline to compare with, not a method.
        version: counts the meanings that its name has had; rows of a study keep it.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    control: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Whether it chooses itself what goes, in a plan of these granularities: only the plan's counts then hold."""
        return False

    def check(self) -> None:
        """Raise a SecateurError where settings are missing without which it can do nothing."""

    @abstractmethod
    def recover(self, context: RecoveryContext) -> nn.Module | RecoveryResult:
        """The cut network with its accuracy won back: ``context.pruned`` itself or another.

        A recovery that refits layers gives a :class:`RecoveryResult`, with the rows that it saw.
        """


CONTRACT = Recovery
