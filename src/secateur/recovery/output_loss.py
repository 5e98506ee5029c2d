"""How far a network's outputs are from the original's, as a loss that follows from what the original gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from secateur.core.errors import SecateurError
from secateur.core.tensors import tensors_in
from secateur.core.text import join_first
from secateur.data.batch import Batch

Kind = Literal["scores", "probabilities", "log-probabilities", "unit vectors", "values"]
Labels = Literal["none", "classes", "values"]
_WORDS: dict[Kind, str] = {
    "scores": "divergence of the softmax, and squared error over the outputs' variance",
    "probabilities": "divergence of the probabilities", "log-probabilities": "divergence of the probabilities",
    "unit vectors": "cosine", "values": "squared error over the outputs' variance"}
"""The loss of each kind of output."""
_NEAR = 1e-3
"""Norms of unit vectors and sums of probabilities are 1 within this."""
_VARIES = 1e-12
"""Outputs whose variance is a smaller part of their mean square differ by rounding alone."""
_SURE = 0.2
"""Scores of classes are surer than this of one, on average; of features that are none the softmax is nearly even."""
_LOOKED_AT = 4096
"""So many rows tell which kind of output it is."""
_NAMED = 3


def float_outputs(outputs: object) -> list[Tensor]:
    """The tensors of floating numbers among a network's outputs, in order."""
    return [one for one in tensors_in(outputs) if one.is_floating_point()]


@dataclass(frozen=True)
class PartLoss:
    """The loss of one output: ``0`` where it equals the original's.

    Attributes:
        kind: what the output is.
        axis: the axis of the classes or features.
        variance: of a row of the original's output about the mean row, summed over its columns.
    """

    kind: Kind
    axis: int
    variance: float

    def __call__(self, made: Tensor, goal: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the rows that are no padding; both outputs have one shape."""
        made, goal = (self.rows(one, batch).float() for one in (made, goal))
        if self.kind == "scores":
            return _divergence(F.log_softmax(made, 1), F.log_softmax(goal, 1)) + self._lost(made, goal)
        if self.kind == "probabilities":
            return _divergence(made.clamp_min(1e-12).log(), goal.clamp_min(1e-12).log())
        if self.kind == "log-probabilities":
            return _divergence(made, goal)
        if self.kind == "unit vectors":
            return 2 * (1 - F.cosine_similarity(made, goal, 1)).mean() / self.variance
        return self._lost(made, goal)

    def rows(self, values: Tensor, batch: Batch) -> Tensor:
        """An output as ``(rows, columns)``, without the places of padding."""
        real = batch.real(values)
        return real.reshape(-1, 1) if not self.axis else real.movedim(self.axis - values.ndim, -1).flatten(0, -2)

    def _lost(self, made: Tensor, goal: Tensor) -> Tensor:
        """The part of the variance that is lost."""
        # divided first, because squares of very small or large outputs are no numbers of float32
        return ((made - goal) / self.variance ** 0.5).square().sum(1).mean()


def _divergence(made: Tensor, goal: Tensor) -> Tensor:
    return F.kl_div(made, goal, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class OutputLoss:
    """The mean of the losses of all outputs that vary."""

    parts: tuple[PartLoss | None, ...]

    def __call__(self, made: Sequence[Tensor], goals: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss of a network's outputs, as tensors of floats, towards the original's."""
        used = [part(one, goal, batch) for part, one, goal in zip(self.parts, made, goals, strict=True) if part]
        return torch.stack(used).mean()

    def __str__(self) -> str:
        return join_first(list(dict.fromkeys(_WORDS[part.kind] for part in self.parts if part)), _NAMED)


def loss_for(batches: Sequence[tuple[Batch, Sequence[Tensor]]], labels: Labels = "none") -> OutputLoss:
    """The loss that goes with what a network gives.

    Probabilities and their logarithms are compared by divergence, unit vectors by cosine. Other outputs of two or three
    axes that are sure of a class may be scores: then the divergence of their softmax (Hinton, Vinyals and Dean,
    *Distilling the Knowledge in a Neural Network*, 2015) stands beside the squared error. It says nothing wrong of
    outputs that are none, and without it scores drift away from the original's. All else is compared by squared error.
    Errors are counted in parts of the output's variance, so that outputs of different size count alike; outputs that do
    not vary count for nothing.

    Args:
        batches: batches with the tensors of floats that the original gives for them.
        labels: what the samples are labelled with: classes make outputs of two or three axes scores, values none.

    Raises:
        SecateurError: no output of floats, one that is not finite, or none that varies.
    """
    counts = {len(outputs) for _, outputs in batches}
    if counts != {max(counts, default=0)} or not max(counts, default=0):
        raise SecateurError("the original gives no tensor of floats, or not the same number of them for every batch")
    parts = tuple(_part(number, [(batch, outputs[number]) for batch, outputs in batches], labels)
                  for number in range(counts.pop()))
    if not any(parts):
        raise SecateurError("the original's outputs are the same for all samples")
    return OutputLoss(parts)


def _part(number: int, pairs: list[tuple[Batch, Tensor]], labels: Labels) -> PartLoss | None:
    """The loss of one output; None where it does not vary."""
    axis = _columns_axis(pairs[0][1])
    rows = torch.cat([PartLoss("values", axis, 1.0).rows(values, batch) for batch, values in pairs]).float()
    if wrong := int((~torch.isfinite(rows)).sum()):
        raise SecateurError(f"output {number} of the original holds {wrong} NaN or infinite values of {rows.numel()}")
    size = max(float(rows.abs().amax()), 1e-37)  # squares of the rows themselves may be no numbers of float32
    scaled = rows / size
    variance = float((scaled - scaled.mean(0)).square().sum(1).mean())
    if variance <= _VARIES * float(scaled.square().sum(1).mean()):
        return None
    variance *= size ** 2
    return PartLoss(_kind(rows[:: max(1, len(rows) // _LOOKED_AT)], pairs[0][1].ndim, labels), axis, variance)


def _columns_axis(values: Tensor) -> int:
    """The axis of classes or features: the second of images, else the last; 0 for none."""
    if values.ndim < 2:
        return 0
    return 1 if values.ndim > 3 else values.ndim - 1


def _kind(rows: Tensor, axes: int, labels: Labels) -> Kind:
    """What an output is, from some of its rows.

    >>> soft, unit = torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([[0.6, -0.8]])
    >>> _kind(soft, 2, "none"), _kind(unit, 2, "none")
    ('probabilities', 'unit vectors')
    >>> rows = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    >>> _kind(rows, 2, "none"), _kind(rows, 2, "values")
    ('scores', 'values')
    """
    if rows.shape[1] < 2 or labels == "values":
        return "values"
    one = torch.ones(len(rows), device=rows.device)

    def are_one(values: Tensor) -> bool:
        return torch.allclose(values, one, rtol=0, atol=_NEAR)

    if bool((rows >= 0).all()) and are_one(rows.sum(1)):
        return "probabilities"
    if bool((rows <= 0).all()) and are_one(rows.exp().sum(1)):
        return "log-probabilities"
    if are_one(rows.norm(dim=1)):
        return "unit vectors"
    return "scores" if axes in (2, 3) and (labels == "classes" or _pick_classes(rows)) else "values"


def _pick_classes(rows: Tensor) -> bool:
    """Whether the softmax of rows is sure of one class, not of the same in all rows.

    >>> _pick_classes(torch.tensor([[4.0, 1.0], [0.0, 2.0]])), _pick_classes(torch.rand(9, 100))
    (True, False)
    """
    return float(rows.softmax(1).amax(1).mean()) > _SURE and len(rows.argmax(1).unique()) > 1
