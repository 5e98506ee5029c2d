"""The networks that a search tries: each is cut, recovered and put in fewer bits without the samples held out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from secateur.core.errors import OutputLayerWarning
from secateur.core.types import Plan
from secateur.data.calibration import Calibration
from secateur.experiment.search.candidate import Candidate
from secateur.pruning.apply import carry_out
from secateur.pruning.checks import REFIT, underdetermined_layers
from secateur.pruning.selection import Selection
from secateur.pruning.spec import PruningSpec
from secateur.recovery.methods.base import Recovery, RecoveryResult
from secateur.recovery.original import Original
from secateur.recovery.pipeline import recover
from secateur.recovery.quantizing import Quantized, quantized


@dataclass(frozen=True, eq=False)
class Made:
    """The network of a candidate, and how it was made.

    Attributes:
        whole: in float32, cut and recovered; the original itself where nothing goes.
        plan: what goes; None where nothing does.
        recovered: what the recovery did.
        quantized: the step to fewer bits; None in float32.
        removal_notes: what had to be set when neurons were removed.
    """

    whole: nn.Module
    plan: Plan | None = None
    recovered: RecoveryResult | None = None
    quantized: Quantized | None = None
    removal_notes: tuple[str, ...] = ()

    @property
    def network(self) -> nn.Module:
        """The network as it runs."""
        return self.quantized.network if self.quantized else self.whole

    def few_rows(self) -> tuple[str, ...]:
        """Which layers were refitted to too few rows."""
        return tuple(underdetermined_layers(self.recovered.rows, REFIT)) if self.recovered else ()

    def left_out(self) -> tuple[str, ...]:
        """What recovery and quantising could not do."""
        return (*(self.recovered.notes if self.recovered else ()),
                *(self.quantized.notes(self.whole) if self.quantized else ()))


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the networks of candidates.

    Attributes:
        asked: the network before the cut with the samples that may be seen, shared by all recoveries.
        recovery: what wins accuracy back.
        skip: what stays whole.
        outputs: the layers that make the outputs, where they are known.
        seed: for what draws at random.
    """

    asked: Original
    recovery: Sequence[Recovery]
    skip: Any = None
    outputs: Sequence[str] | None = None
    seed: int = 0
    _selections: dict[str, Selection] = field(default_factory=dict)

    @property
    def samples(self) -> Calibration:
        """The samples that recoveries and ranges see."""
        return self.asked.samples

    def selection(self, item: Any, name: str) -> Selection:
        """The scores of a granularity, ranked once for all sparsities.

        Raises:
            SecateurError: nothing of it can be cut.
        """
        if name not in self._selections:
            with warnings.catch_warnings():
                if self._selections:  # said once
                    warnings.simplefilter("ignore", OutputLayerWarning)
                self._selections[name] = Selection(
                    self.asked.network, PruningSpec(granularity=item, skip=self.skip, seed=self.seed),
                    samples=self.samples, outputs=self.outputs)
        return self._selections[name]

    def cut(self, selection: Selection, sparsity: float) -> Made:
        """The network cut at a sparsity and recovered, in float32."""
        plan = selection.plan(sparsity)
        removal = carry_out(self.asked.network, plan)
        cut = removal.network if plan.removed else copy.deepcopy(self.asked.network)
        result = recover(self.asked.network, cut, plan, self.recovery, self.samples, self.seed, self.asked)
        return Made(result.network, plan, result, removal_notes=tuple(removal.notes))

    def in_bits(self, made: Made, candidate: Candidate) -> Made:
        """The network of a candidate from the same in float32."""
        step = quantized(made.whole, candidate.bits, self.samples, self.seed)  # type: ignore[arg-type]
        return Made(made.whole, made.plan, made.recovered, step, made.removal_notes)
