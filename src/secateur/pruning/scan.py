"""The sensitivity scan: each layer cut by itself at several sparsities, and how far the outputs move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.data.batch import Batch
from secateur.data.forward import call, watch
from secateur.measure.compare import divergence, same_classes
from secateur.pruning.ranking import removal_count
from secateur.pruning.trial import Trials

GRID = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Sparsities of a scan, close together where losses rise most."""
_BATCH = 512
"""Samples of one call, which bounds the memory of activations."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One layer cut by itself.

    ``removed`` counts the items that went, from 0; ``loss`` is the mean divergence of the outputs from the
    original's in nats, ``same`` the fraction of samples whose greatest output is the same as before.
    """

    name: str
    items: int
    removed: tuple[int, ...]
    loss: tuple[float, ...]
    same: tuple[float, ...]

    def at(self, counts: NDArray[Any]) -> Numbers:
        """The loss at other counts: straight lines of its logarithm between those measured, the square of the count
        before the first; never falling (by 1e-12 always rising, so that what costs nothing stays).

        >>> Curve("a", 10, (0, 2, 4, 8), (0.0, 1.0, 4.0, 3.0), (1,) * 4).at(np.array([0, 1, 2, 3, 6])).round(9).tolist()
        [0.0, 0.25, 1.0, 2.0, 4.0]
        """
        counts = np.asarray(counts)
        if len(self.removed) < 2:
            return 1e-12 * counts.astype(np.float64)
        places, risen = np.array(self.removed[1:]), np.maximum.accumulate(self.loss[1:]).clip(1e-12)
        between = np.exp(np.interp(counts, places, np.log(risen)))
        found = np.where(counts < places[0], risen[0] * (counts / places[0]) ** 2, between)
        return found + 1e-12 * counts / max(self.items, 1)


@dataclass(frozen=True)
class Scan:
    """A curve for every layer, measured with so many samples.

    >>> print(Scan((Curve("fc", 8, (0, 4), (0.0, 0.25), (1.0, 0.9)),), 32))
    each layer cut by itself, 32 samples: divergence of the outputs in nats
      fc: 0.25 at 50%
    """

    curves: tuple[Curve, ...]
    samples: int

    def __str__(self) -> str:
        lines = [f"each layer cut by itself, {self.samples} samples: divergence of the outputs in nats"]
        lines += [f"  {c.name}: " + ", ".join(f"{loss:.3g} at {removed / c.items:.0%}" for removed, loss in
                                              zip(c.removed[1:], c.loss[1:], strict=True)) for c in self.curves]
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """The scan as plain JSON values."""
        return {"samples": self.samples, "layers": [{"name": c.name, "items": c.items, "removed": list(c.removed),
                                                     "loss": list(c.loss), "same": list(c.same)} for c in self.curves]}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Scan:
        """The scan back from :meth:`plain`."""
        return cls(tuple(Curve(c["name"], c["items"], tuple(c["removed"]), tuple(c["loss"]), tuple(c["same"]))
                         for c in plain["layers"]), plain["samples"])


def scan(trials: Trials, sparsities: Sequence[float] = GRID) -> Scan:
    """The curve of every layer, each cut by itself within its bounds."""
    before = _log_probabilities(trials.model, trials)

    def curve(index: int) -> Curve:
        layer, (_, most) = trials.layers[index], trials.bounds[index]
        counts = sorted(({min(removal_count(layer.items, s), most) for s in sparsities} | {most}) - {0})
        after = (_log_probabilities(trials.cut_one(index, count), trials) for count in counts)
        measured = [(0.0, 1.0), *((divergence(before, cut), same_classes(before, cut)) for cut in after)]
        loss, same = zip(*measured, strict=True)
        return Curve(layer.name, layer.items, (0, *counts), loss, same)

    return Scan(tuple(map(curve, range(len(trials.layers)))), len(before))


def _log_probabilities(model: nn.Module, trials: Trials) -> Tensor:
    """The log-probabilities that a network gives, float64, ``(samples, ..., classes)``.

    Raises:
        SecateurError: it gives no tensor of at least two classes, or one that is not finite.
    """
    with watch(model, {}), torch.inference_mode():
        return torch.cat([_log_softmax(call(model, Batch(batch, None, trials.names)))
                          for batch in zip(*(x.split(_BATCH) for x in trials.inputs), strict=True)])


def _log_softmax(outputs: Any) -> Tensor:
    """Outputs as log-probabilities over their last axis."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[-1] < 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise SecateurError(f"a sensitivity scan compares outputs of shape (samples, ..., classes), got {got}")
    if not torch.isfinite(outputs).all():
        raise SecateurError("a sensitivity scan: the network's outputs are not finite")
    return outputs.double().log_softmax(-1).cpu()
