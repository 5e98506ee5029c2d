"""What lies in the layers of a trained network: how weights and neuron norms are distributed.

The numbers behind the question *why* single weights and whole neurons differ: are there many weights
near zero, are there neurons with a norm near zero, and do large weights sit in the neurons that go?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.pruning.ranking import removal_count

_BINS = 60
THRESHOLDS = (0.01, 0.05, 0.1, 0.25, 0.5)
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
LARGE = 0.1
"""The fraction of a layer's weights that are called large."""
_SPAN = {"max": 1.0, "mean": 4.0}
"""Where histograms end: at the maximum; of multiples of the mean at four, beyond which few values lie."""


def weight_statistics(weights: Mapping[str, Tensor], sparsities: Sequence[float]) -> dict[str, Any]:
    """Describe every prunable layer of one trained network.

    Args:
        weights: name to weight tensor, axis 0 the output neurons: ``(out, ...)``.
        sparsities: the fractions of neurons for which the fate of the large weights is followed.

    Returns:
        A JSON-serialisable dict: ``sparsities``, ``thresholds``, ``quantiles``, ``large`` (the fraction of
        weights called large) and ``layers``. A layer has its ``name``, ``shape``, the distribution of its
        ``weight`` magnitudes and of its ``neuron`` norms (see :func:`distribution`), ``fallen`` (for each
        sparsity, the share of its large weights that lies in the neurons of lowest L2 norm that go) and
        ``even`` (the share that would go if every neuron held as many of them).

    Raises:
        SecateurError: a weight has fewer than two axes, no values, or values that are not finite.

    >>> layer = weight_statistics({"a": torch.tensor([[3.0, 4.0], [0.0, 1.0]])}, [0.5])["layers"][0]
    >>> layer["neuron"]["mean"], layer["fallen"], layer["even"]
    (3.0, [0.0], [0.5])
    """
    layers = [_describe_layer(name, tensor.detach().float(), sparsities) for name, tensor in weights.items()]
    return {"sparsities": list(sparsities), "thresholds": list(THRESHOLDS), "quantiles": list(_QUANTILES),
            "large": LARGE, "layers": layers}


def _describe_layer(name: str, weight: Tensor, sparsities: Sequence[float]) -> dict[str, Any]:
    """The record of one layer."""
    _check(name, weight)
    rows = weight.flatten(1)
    norms = torch.linalg.vector_norm(rows, dim=1)
    fallen, even = _fallen_shares(rows, norms, sparsities)
    return {"name": name, "shape": list(weight.shape), "weight": distribution(rows.abs().flatten()),
            "neuron": distribution(norms), "fallen": fallen, "even": even}


def _check(name: str, weight: Tensor) -> None:
    """Refuse what cannot be described."""
    if weight.ndim < 2 or not weight.numel():
        raise SecateurError(f"anatomy of '{name}': got shape {tuple(weight.shape)}, needs (neurons, values, ...)")
    if bad := int((~torch.isfinite(weight)).sum()):
        raise SecateurError(f"anatomy of '{name}': {bad} of {weight.numel()} weights are not finite")


def distribution(values: Tensor) -> dict[str, Any]:
    """The distribution of non-negative values.

    Returns:
        ``count``, ``mean``, ``max``, ``cv`` (standard deviation over mean, 0 for all-zero values),
        ``gini`` (0: all equal, towards 1: one holds everything), and for each scale, ``by_max`` and
        ``by_mean``: ``last_edge`` (of equal bins from 0), ``shares`` (of the values, one a bin),
        ``beyond`` (share above the last edge), ``below`` (share strictly under each threshold) and
        ``quantiles``.

    >>> d = distribution(torch.tensor([1.0, 3.0]))
    >>> d["mean"], d["cv"], d["gini"], d["by_max"]["below"][-1]
    (2.0, 0.5, 0.25, 0.5)
    """
    ascending = values.double().sort().values
    mean, top = float(ascending.mean()), float(ascending[-1])
    cv = float(ascending.std(correction=0)) / mean if mean else 0.0
    return {"count": ascending.numel(), "mean": mean, "max": top, "cv": cv, "gini": _gini(ascending),
            "by_max": _in_units(ascending, top, _SPAN["max"]), "by_mean": _in_units(ascending, mean, _SPAN["mean"])}


def _gini(ascending: Tensor) -> float:
    """The Gini coefficient of ascending values: sum of (2i - n - 1) x_i over n times their sum."""
    n, total = ascending.numel(), float(ascending.sum())
    ranks = 2 * torch.arange(1, n + 1, dtype=ascending.dtype, device=ascending.device) - n - 1
    return float((ranks * ascending).sum()) / (n * total) if total else 0.0


def _in_units(ascending: Tensor, unit: float, span: float) -> dict[str, Any]:
    """Histogram, shares under the thresholds and quantiles of ascending values, measured in ``unit``."""
    relative = (ascending / unit if unit else ascending).cpu()
    counts = torch.histc(relative[relative <= span], bins=_BINS, min=0.0, max=span) / relative.numel()
    below = [int(torch.searchsorted(relative, t)) / relative.numel() for t in THRESHOLDS]
    at = [relative[round(q * (relative.numel() - 1))] for q in _QUANTILES]
    return {"last_edge": span, "shares": counts.tolist(), "beyond": float((relative > span).double().mean()),
            "below": below, "quantiles": [float(v) for v in at]}


def _fallen_shares(rows: Tensor, norms: Tensor, sparsities: Sequence[float]) -> tuple[list[float], list[float]]:
    """The share of the large weights that goes with the weakest neurons, and the share if spread evenly.

    Large are the top :data:`LARGE` of the layer by |w|, at least one; the last neuron always stays.
    """
    count = max(1, rows.numel() - removal_count(rows.numel(), 1 - LARGE))
    large = torch.zeros(rows.numel(), dtype=torch.float64, device=rows.device)
    large[torch.sort(rows.abs().flatten(), stable=True).indices[-count:]] = 1
    order = torch.sort(norms, stable=True).indices
    falling = torch.cat([torch.zeros(1), large.view_as(rows).sum(1)[order].cpu().cumsum(0)]) / count
    counts = [min(removal_count(len(norms), s), len(norms) - 1) for s in sparsities]
    return [float(falling[g]) for g in counts], [g / len(norms) for g in counts]
