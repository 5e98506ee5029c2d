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
from secateur.recovery.distil_samples import HELD_OUT
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.distil import Distil
from secateur.recovery.methods.refit import Refit
from secateur.recovery.original import Original
from secateur.recovery.stages import Stage, stage
from secateur.recovery.thinning import Thinning, denser_plan, thins

_MANY = 2048
"""Below so many samples a refit of all of them stands beside the one that does without an eighth."""
_FAR = 0.05
"""Below this loss on the samples held out the refit's choice is as good as a new one: on the study's MLP that is at 95%
of the weights, at 80% of blocks of 20x4, at 90% of blocks of 1x4."""
_LEAST_STEPS = 500
"""In fewer steps a network that is thinned while it learns ends behind one that was refitted first."""
_MOST_WORK = 2**42
"""FLOPs of the steps up to which choosing anew is tried: large networks would have to learn for hours to gain by it."""
_MOST_FROM_CUT = 2**44
"""FLOPs of the steps up to which a network is trained from the plain cut as well."""
_UNCLEAR = ("not distilled: on the samples held out that was not clearly better than the refit, which was repeated "
            "with all samples")


@dataclass(frozen=True)
class Best(Recovery):
    """``refit`` layer by layer, then ``distil`` end to end, both without labels. A layer that cannot be refitted is
    left to the second step. Neither learns from an eighth of the samples, and the network that is closest to the
    original on it is returned. Of few samples a refit needs all: where the second step was not clearly better than a
    refit without that eighth, a refit of all samples is returned.

    Where the refit left layers that were cut, and the network ends far from the original, the plain cut is trained as
    well, and the closer of the two is taken.

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
        held, cut = context.asked.parts[1], copy.deepcopy(context.pruned)
        first = stage("cut", cut, held)
        began = time.perf_counter()
        refitted, refusal = _refit(_shown(context))
        second = stage("refit", refitted.network, held, time.perf_counter() - began)
        began = time.perf_counter()
        trained = self.distil.recover(replace(context, pruned=copy.deepcopy(refitted.network)))
        if refusal is not None and not trained.stages:
            raise refusal
        if refusal is None:
            if _leaves_cut_layers(context, refitted):
                trained = self._from_cut(context, trained, cut) or trained
            trained = self._thinned(replace(context, pruned=trained.network)) or trained
            took = time.perf_counter() - began  # of all trainings, those not taken among them
            trained = replace(trained, stages=tuple(replace(one, seconds=took) for one in trained.stages))
            if sum(map(len, context.data)) < _MANY and not self._is_clear(context, refitted.network, trained):
                refitted = Refit().recover(replace(context, pruned=cut))
                trained = _unused(trained, refitted.network, second)
        stages = (first, *(() if refusal else (second,)), *trained.stages)
        return RecoveryResult(trained.network, refitted.rows, (*refitted.notes, *trained.notes), stages)

    def _is_clear(self, context: RecoveryContext, refitted: nn.Module, trained: RecoveryResult) -> bool:
        """Whether a trained network is closer than a refit of all samples can be expected to be.

        What a refit loses more on samples that it has not seen is an error of estimation, which falls as one by the
        number of samples: of an eighth more, by an eighth at most.
        """
        if not trained.stages:
            return False
        fit, held = context.asked.parts

        def loss(network: nn.Module, part: Original) -> float:
            training = self.distil.training(replace(context, pruned=network))
            training.held = part.goals
            return training.held_loss()
        before = loss(refitted, held)
        return loss(trained.network, held) < before - max(0.0, before - loss(refitted, fit)) / HELD_OUT

    def _from_cut(self, context: RecoveryContext, trained: RecoveryResult, cut: nn.Module) -> RecoveryResult | None:
        """The cut network, trained without the refit; None as in ``_thinned``, but for the number of steps.

        Layers that are refitted behind one that cannot be are fitted to inputs that the training will change.
        """
        if self.distil.seconds or not trained.stages:
            return None
        try:
            loss = self.distil.training(replace(context, pruned=trained.network)).held_loss()
            training = self.distil.training(replace(context, pruned=copy.deepcopy(cut)))
            if loss < _FAR or training.steps * self.distil.work(cut, context.data) > _MOST_FROM_CUT:
                return None
            training.run()
        except (SecateurError, DistilError):
            return None
        if training.after >= loss:
            return None
        found = self.distil.result(training, context.asked.parts[1], 0.0)
        return replace(found, stages=tuple(replace(one, how=f"{one.how}, from the plain cut") for one in found.stages))

    def _thinned(self, context: RecoveryContext) -> RecoveryResult | None:
        """A denser network that lost its smallest weights while it learned.

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
        return self.distil.result(training, context.asked.parts[1], 0.0) if training.after < loss else None


def _leaves_cut_layers(context: RecoveryContext, refitted: RecoveryResult) -> bool:
    """Whether a refit changed some layers, and left others that were cut."""
    cut = {*context.masks, *context.kept_units}
    matrices = (name for name, p in context.original.named_parameters() if name in cut and p.ndim > 1)
    return bool(refitted.rows) and any(name.rpartition(".")[0] not in refitted.rows for name in matrices)


def _unused(trained: RecoveryResult, network: nn.Module, refit: Stage) -> RecoveryResult:
    """What a training says whose network is not taken: another one is, which is at least what the refit was."""
    notes = trained.notes if any(note.startswith("not distilled") for note in trained.notes) else (_UNCLEAR,)
    stages = (replace(one, error=refit.error, same=refit.same) for one in trained.stages)
    return RecoveryResult(network, notes=notes, stages=tuple(stages))


def _shown(context: RecoveryContext) -> RecoveryContext:
    """What the refit gets to see: the samples that are not held out."""
    fit = context.asked.parts[0]
    return replace(context, samples=fit.samples, original_asked=fit)


def _refit(context: RecoveryContext) -> tuple[RecoveryResult, SecateurError | None]:
    """The cut network after the refit; as it was where none is possible, with the reason."""
    cut: nn.Module = copy.deepcopy(context.pruned)
    try:
        return Refit().recover(context), None
    except SecateurError as error:
        return RecoveryResult(cut, notes=(f"not refitted: {error}",)), error
