"""Best: the recovery with the best accuracy without labels."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from secateur.core.bounds import check_settings, kind
from secateur.core.errors import SecateurError
from secateur.pruning.apply import apply
from secateur.recovery.distil_loop import DistilError
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.distil import Distil
from secateur.recovery.methods.refit import Refit
from secateur.recovery.stages import stage
from secateur.recovery.thinning import Thinning, denser_plan, thins

_MANY = 2048
"""From so many samples on a refit does without an eighth of them, and the choice between the steps is fair."""
_FAR = 0.05
"""Below this loss on the samples held out the refit's choice is as good as a new one: on the study's MLP that is at 95%
of the weights, at 80% of blocks of 20x4, at 90% of blocks of 1x4."""
_LEAST_STEPS = 500
"""In fewer steps a network that is thinned while it learns ends behind one that was refitted first."""
_MOST_WORK = 2**42
"""FLOPs of the steps up to which choosing anew is tried: large networks would have to learn for hours to gain by it."""


@dataclass(frozen=True)
class Best(Recovery):
    """``refit`` layer by layer, then ``distil`` end to end, both without labels. A layer that cannot be refitted is
    left to the second step. The network that is closest to the original on an eighth of the samples is returned. The
    second step never learns from that eighth, and neither does the refit where samples are many. Of few samples the
    refit needs all, so that the second step has to be clearly better to be taken.

    Where weights or blocks end far from the original, and the network is small enough to learn twice, they are chosen
    anew while it learns: it begins with five times as many, refitted, and loses the smallest along a cubic. Every layer
    loses as many as the plan says."""

    distil: Distil = Distil()  # noqa: RUF009
    needs = frozenset({"data"})
    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_settings("best", vars(self), distil=kind(Distil))

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where the refit does."""
        return Refit().chooses(kinds)

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network, refitted and trained where that brings it closer.

        Raises:
            SecateurError: it can neither be refitted nor trained.
        """
        if context.asked.few:
            refitted = Refit().recover(context)
            return replace(refitted, notes=(*refitted.notes, f"not distilled: {context.asked.few}"))
        held = context.asked.parts[1]
        first = stage("cut", context.pruned, held)
        began = time.perf_counter()
        refitted, refusal = _refit(_shown(context))
        second = stage("refit", refitted.network, held, time.perf_counter() - began)
        began = time.perf_counter()
        trained = self.distil.recover(replace(context, pruned=refitted.network))
        if refusal is not None and not trained.stages:
            raise refusal
        if refusal is None:
            trained = self._thinned(replace(context, pruned=trained.network), began) or trained
        stages = (first, *(() if refusal else (second,)), *trained.stages)
        return RecoveryResult(trained.network, refitted.rows, (*refitted.notes, *trained.notes), stages)

    def _thinned(self, context: RecoveryContext, began: float) -> RecoveryResult | None:
        """A denser network that lost its smallest weights while it learned; training ``began`` at that second.

        None where the network so far is near the original, the steps are few, capped by seconds or too much work, or
        the result is further from the original.
        """
        if self.distil.seconds or not thins(context.granularities) or not context.plan.removed:
            return None
        try:
            so_far = self.distil.training(context)
            loss, work = so_far.held_loss(), so_far.steps * self.distil.work(context.pruned, context.data)
            if loss < _FAR or so_far.steps < _LEAST_STEPS or work > _MOST_WORK:
                return None
            plan = denser_plan(context.original, context.plan)
            start = Refit().recover(_shown(replace(context, pruned=apply(context.original, plan), plan=plan)))
            training = self.distil.training(replace(context, pruned=start.network, plan=plan))
            training.thinning, training.far = Thinning(start.network, context.plan, training.steps), loss
            training.run()
        except (SecateurError, DistilError):
            return None
        return self.distil.result(training, context.asked.parts[1], time.perf_counter() - began) if (
            training.after < loss) else None


def _shown(context: RecoveryContext) -> RecoveryContext:
    """What the refit gets to see: the samples that are not held out where these are many, else all."""
    if sum(map(len, context.data)) < _MANY:
        return context
    fit = context.asked.parts[0]
    return replace(context, samples=fit.samples, original_asked=fit)


def _refit(context: RecoveryContext) -> tuple[RecoveryResult, SecateurError | None]:
    """The cut network after the refit; as it was where none is possible, with the reason."""
    cut: nn.Module = copy.deepcopy(context.pruned)
    try:
        return Refit().recover(context), None
    except SecateurError as error:
        return RecoveryResult(cut, notes=(f"not refitted: {error}",)), error
