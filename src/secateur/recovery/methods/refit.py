"""Refit: the best refit of each layer by itself, without labels and without training."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.recovery.layerwise_passes import Passes
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.recalibrate import Recalibrate
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.picks import rechoosable

_KEPT = ("recovery refit: refitting would move the outputs further from the original's, so nothing was refitted")


@dataclass(frozen=True)
class Refit(Recovery):
    """The best refit of each layer by itself, as measured: ``rechoose`` where weights or blocks are cut, else
    ``reconstruct``; ``recalibrate`` after it where there are batch norms. Returns the candidate whose outputs for the
    samples are closest to the original's; the cut network as it is stands among them, so that nothing gets worse."""

    needs = frozenset({"data"})
    version: ClassVar[int] = 2

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where weights or blocks of them are cut."""
        return rechoosable(kinds)

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network, refitted where that brings it closer."""
        cut = copy.deepcopy(context.pruned)
        refitted = (Rechoose() if self.chooses(context.granularities) else Reconstruct()).recover(context)
        candidates = [cut, refitted.network]
        if any(isinstance(m, _BatchNorm) and m.track_running_stats for m in refitted.network.modules()):
            measured = Recalibrate().recover(replace(context, pruned=copy.deepcopy(refitted.network)))
            candidates.append(measured.network)
        nearest = min(candidates, key=lambda model: distance(model, context))
        kept = (_KEPT,) if nearest is cut and refitted.rows else ()
        return RecoveryResult(nearest, refitted.rows, (*refitted.notes, *kept))


def distance(model: nn.Module, context: RecoveryContext) -> float:
    """The summed squared difference of a network's outputs from the original's, over the samples, padding left out.

    Values that are NaN or infinite in the original count for nothing; elsewhere those of the network count as infinite.
    """
    original, cut = context.asked.passes, Passes(model, context.samples, room=0)
    return sum(_apart(batch.real(a), batch.real(b))
               for number, batch in enumerate(context.data)
               for a, b in zip(original.given(number, batch), cut.given(number, batch), strict=True))


def _apart(whole: Tensor, cut: Tensor) -> float:
    """The squared difference of two outputs.

    >>> _apart(torch.tensor([1.0, torch.nan]), torch.tensor([3.0, 7.0]))
    4.0
    >>> _apart(torch.ones(1), torch.tensor([torch.nan]))
    inf
    """
    lost = (whole.double() - cut.double())[torch.isfinite(whole)].square().sum()
    return float(lost.nan_to_num(torch.inf))
