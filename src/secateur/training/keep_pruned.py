"""Makes sure that what is cut stays cut, whatever criterion chooses next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion, as_criterion
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.granularity.block import Block
from secateur.pruning.signals.base import Signals


class KeepPruned(Criterion):
    """Another criterion, for which a weight that is zero is worth less than every weight that is not.

    Criteria that look at gradients give living weights scores of zero, or below; the zeros of earlier cuts would
    tie with them, or come back in their place. Scores that are never negative stay so, as scope ``lamp`` needs them.

    Args:
        inner: the other criterion.
        called: its name.
        added: how many scores at most are added up to the score of one item.

    >>> from secateur.pruning.criteria.magnitude import Magnitude
    >>> bool(KeepPruned(Magnitude()).score(torch.tensor([0.0, 1e-30]), Signals()).argmin() == 0)
    True
    """

    def __init__(self, inner: Criterion, called: str = "", added: int = 1):
        self.inner, self.called, self.added = inner, called, added
        self.granularities, self.needs = inner.granularities, inner.needs  # type: ignore[misc]

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The other's scores, lower than all of them where ``weight`` is zero: 0 where none is negative."""
        scores = self.inner.score(weight, signals)
        least = float(scores.min())
        if least >= 0:
            # a living weight may score exactly 0: it gets the least positive number, so that no cut one ties with it
            return scores.clamp_min(torch.finfo(scores.dtype).tiny).masked_fill(weight == 0, 0)
        # One zero is below the sum of a whole block: a block at the edge of a layer may be a single weight.
        return scores.masked_fill(weight == 0, (1 + min(self.added, scores.numel())) * least - 1)


def keep_pruned(criterion: Any, item: Granularity, others: Iterable[Granularity] = ()) -> Any:
    """A criterion with what is zero below the rest, called as before; neurons need no such thing.

    Args:
        criterion: the criterion that was asked for.
        item: what an item of the network is.
        others: what an item of single layers is.
    """
    name, found = as_criterion(criterion or item.default_criterion)
    return KeepPruned(found, name, _added([item, *others])) if item.scored_as == "weight" else criterion


def _added(items: Iterable[Granularity]) -> int:
    """How many scores at most are added up to that of one item.

    >>> _added([Block(16, 4, "sum"), Block(1, 4)]), _added([Block(16, 4)])
    (64, 1)
    """
    blocks = [item for item in items if isinstance(item, Block)]
    # A layer whose granularity is only named pools its scores as the network does.
    return max(b.outputs * b.inputs for b in blocks) if any(b.pooling == "sum" for b in blocks) else 1
