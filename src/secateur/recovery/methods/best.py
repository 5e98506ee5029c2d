"""Best: the recovery with the best accuracy without labels."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from secateur.core.bounds import check_settings, kind
from secateur.core.errors import SecateurError
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.distil import Distil
from secateur.recovery.methods.refit import Refit
from secateur.recovery.stages import stage


@dataclass(frozen=True)
class Best(Recovery):
    """``refit`` layer by layer, then ``distil`` end to end, both without labels. A layer that cannot be refitted is
    left to the second step. The refit does not see the eighth of the samples by which the second step chooses."""

    distil: Distil = Distil()  # noqa: RUF009
    needs = frozenset({"data"})
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_settings("best", vars(self), distil=kind(Distil))

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where ``refit`` does."""
        return Refit().chooses(kinds)

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network, refitted and trained where that brings it closer.

        Raises:
            SecateurError: it can neither be refitted nor trained.
        """
        if context.asked.few:
            refitted = Refit().recover(context)
            return replace(refitted, notes=(*refitted.notes, f"not distilled: {context.asked.few}"))
        fit, held = context.asked.parts
        first = stage("cut", context.pruned, held)
        began = time.perf_counter()
        refitted, refusal = _refit(replace(context, samples=fit.samples, original_asked=fit))
        second = stage("refit", refitted.network, held, time.perf_counter() - began)
        trained = self.distil.recover(replace(context, pruned=refitted.network))
        if refusal is not None and not trained.stages:
            raise refusal
        stages = (first, *(() if refusal else (second,)), *trained.stages)
        return RecoveryResult(trained.network, refitted.rows, (*refitted.notes, *trained.notes), stages)


def _refit(context: RecoveryContext) -> tuple[RecoveryResult, SecateurError | None]:
    """The cut network after the refit; as it was where none is possible, with the reason."""
    cut: nn.Module = copy.deepcopy(context.pruned)
    try:
        return Refit().recover(context), None
    except SecateurError as error:
        return RecoveryResult(cut, notes=(f"not refitted: {error}",)), error
