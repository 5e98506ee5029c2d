"""Makes sure that what is cut stays cut, whatever criterion chooses next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion, as_criterion
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.signals.base import Signals


class KeepPruned(Criterion):
    """Another criterion, for which a weight that is zero is worth less than every weight that is not.

    Criteria that look at gradients give living weights scores of zero, or below; the zeros of earlier cuts would
    tie with them, or come back in their place. Scores that are never negative stay so, as scope ``lamp`` needs them.

    >>> from secateur.pruning.criteria.magnitude import Magnitude
    >>> bool(KeepPruned(Magnitude()).score(torch.tensor([0.0, 1e-30]), Signals()).argmin() == 0)
    True
    """

    def __init__(self, inner: Criterion, called: str = ""):
        self.inner, self.called = inner, called
        self.granularities, self.needs = inner.granularities, inner.needs  # type: ignore[misc]

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The other's scores, lower than all of them where ``weight`` is zero: 0 where none is negative."""
        scores = self.inner.score(weight, signals)
        least = float(scores.min())
        if least >= 0:
            # a living weight may score exactly 0: it gets the least positive number, so that no cut one ties with it
            return scores.clamp_min(torch.finfo(scores.dtype).tiny).masked_fill(weight == 0, 0)
        return scores.masked_fill(weight == 0, 2 * least - 1)


def keep_pruned(criterion: Any, item: Granularity) -> Any:
    """A criterion with what is zero below the rest, called as before; neurons need no such thing."""
    name, found = as_criterion(criterion or item.default_criterion)
    return KeepPruned(found, name) if item.scored_as == "weight" else criterion
