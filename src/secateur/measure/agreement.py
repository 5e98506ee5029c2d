"""How alike two networks' outputs are on the same samples; their accuracy where the samples have labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.tensors import tensors_in
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.measure.spread import FEW, Spread

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


@dataclass(frozen=True)
class Agreement:
    """The outputs of a cut network beside the original's; places of padding do not count.

    Attributes:
        error: the norm of the difference over all samples as a fraction of the norm of the original's outputs.
        cosine: the mean over the samples of the cosine between the two outputs, each as one vector.
        samples: how many there were.
        same: the fraction of rows of outputs whose largest value stands in the same place: the predicted class of a
            classifier, the next token of a language model. None where the outputs have no such rows, and for a
            regression: labels that are no classes, with a loss of their own.
        accuracy: the fraction of labels that the original and the cut network predict; None without labels, or where
            the labels are no classes.
        lost: the part of the variance of the original's outputs about their mean that the cut network misses, 0 or
            more: any constant misses 1 or more. None where the outputs do not vary.
        usual: what a constant would give as ``same``: the fraction of rows that fall to the most frequent class, or of
            fewer than 16 rows one class of all that there are.
        rows: how many rows ``same`` is a fraction of.
        flips: how many labels the original alone predicts, how many the cut network alone, and how many labels count;
            None as ``accuracy``.
        deviation: the standard deviation of the samples' cosines.
    """

    error: float
    cosine: float
    samples: int
    same: float | None = None
    accuracy: tuple[float, float] | None = None
    lost: float | None = field(default=None, compare=False)
    usual: float | None = field(default=None, compare=False)
    rows: int = field(default=0, compare=False)
    flips: tuple[int, int, int] | None = field(default=None, compare=False)
    deviation: float = field(default=0.0, compare=False)


def agreement(original: nn.Module, cut: nn.Module, samples: Calibration) -> Agreement:
    """Compare two networks on samples; of several outputs the first is compared.

    Raises:
        SecateurError: the networks give no tensor of floats.

    >>> net, x = nn.Linear(2, 2, bias=False), torch.eye(2)
    >>> half = nn.Linear(2, 2, bias=False)
    >>> _ = half.weight.data.copy_(net.weight.data / 2)
    >>> near = agreement(net, half, Calibration([x]))
    >>> round(near.error, 6), round(near.cosine, 6), near.samples, near.same
    (0.5, 1.0, 2, 1.0)
    """
    return agreement_of(_outputs_of_both(original, cut, samples), samples.own_loss)


def agreement_of(found: Iterable[tuple[Batch, Any, Any]], own_loss: bool = False) -> Agreement:
    """Compare outputs: batches, each with what the original and what the other network, or engine, gives for it.

    Args:
        found: at least one batch; of several outputs the first of floats is compared.
        own_loss: whether labels may be values rather than classes.

    Raises:
        SecateurError: the outputs hold no tensor of floats, or have other shapes.

    >>> agreement_of([(Batch((torch.eye(2),), torch.tensor([0, 0])), torch.eye(2), torch.ones(2, 2))]).accuracy
    (0.5, 1.0)
    """
    apart, size, cosines, same, right = 0.0, 0.0, list[Tensor](), list[Tensor](), list[Tensor]()
    spread, usual, count = Spread(), list[Tensor](), 1
    for batch, *outputs in found:
        whole, small = map(_first, outputs)
        if whole.shape != small.shape:
            raise SecateurError(f"the networks return outputs of shapes {tuple(whole.shape)} and "
                                f"{tuple(small.shape)}; allowed: outputs of equal shapes")
        apart += float(batch.real(whole - small).square().sum())
        size += float(batch.real(whole).square().sum())
        spread.add(_columns(batch.real(whole), whole.ndim))
        cosines.append(torch.cosine_similarity(_rows(whole, batch), _rows(small, batch), 1))
        labels = batch.labels.cpu() if isinstance(batch.labels, Tensor) else None
        if axis := 0 if own_loss and _are_values(labels, whole) else _class_axis(whole, labels):
            classes = torch.stack([whole.argmax(axis), small.argmax(axis)], -1)
            real = _real_places(classes[..., 0], batch)
            same.append((classes[..., 0] == classes[..., 1])[real])
            usual.append(classes[..., 0][real])
            count = whole.shape[axis]
            if labels is not None and labels.dtype in _WHOLE and labels.shape == real.shape:
                right.append((classes == labels[..., None])[real & (labels != _IGNORED)])
    means = torch.cat(cosines)
    equal, hits = (torch.cat(parts).double() if parts else None for parts in (same, right))
    flips = None if hits is None else (int((hits[:, 0] > hits[:, 1]).sum()), int((hits[:, 0] < hits[:, 1]).sum()),
                                       len(hits))
    # Outputs that are all zero leave nothing to divide by: any difference is then a huge error, not an exception.
    return Agreement((apart / max(size, 1e-300)) ** 0.5, float(means.mean()), len(means),
                     None if equal is None else float(equal.mean()),
                     None if hits is None else (float(hits[:, 0].mean()), float(hits[:, 1].mean())),
                     spread.part(apart, size), _share_of_one(torch.cat(usual), count) if usual else None,
                     0 if equal is None else len(equal), flips, float(means.std(correction=0)))


def _outputs_of_both(original: nn.Module, cut: nn.Module, samples: Calibration) -> Iterator[tuple[Batch, Any, Any]]:
    """Each batch with what the two networks give for it, in evaluation mode."""
    with watch(original, {}), watch(cut, {}), torch.no_grad():
        for batch in samples:
            yield batch, call(original, batch), call(cut, batch)


def _first(outputs: Any) -> Tensor:
    """The first tensor of floats among a network's outputs, in float64."""
    for value in tensors_in(outputs):
        if value.is_floating_point():
            return value.double().cpu()
    raise SecateurError(f"the network returns {type(outputs).__name__} without a float tensor, so its outputs cannot "
                        "be compared")


def _columns(values: Tensor, axes: int) -> Tensor:
    """Outputs ``(rows, columns)``: a column for each output of a layer, the channels of pictures (four axes or more).

    >>> _columns(torch.zeros(2, 7, 5), 3).shape, _columns(torch.zeros(2, 3, 4, 4), 4).shape
    (torch.Size([14, 5]), torch.Size([32, 3]))
    """
    if values.ndim < 2:
        return values.reshape(-1, 1)
    return (values.movedim(1, -1) if axes > 3 else values).flatten(0, -2)


def _share_of_one(classes: Tensor, count: int) -> float:
    """The fraction of rows that fall to the most frequent class; of few rows, one of ``count`` classes.

    >>> _share_of_one(torch.tensor([2, 2, 2, 0] * 4), 3), _share_of_one(torch.tensor([2]), 4)
    (0.75, 0.25)
    """
    return 1 / count if len(classes) < FEW else float(classes.bincount().max()) / len(classes)


def _are_values(labels: Tensor | None, outputs: Tensor) -> bool:
    """Whether labels are numbers that the outputs are to come near, rather than classes."""
    return labels is not None and (labels.is_floating_point() or labels.shape == outputs.shape)


def _class_axis(outputs: Tensor, labels: Tensor | None) -> int:
    """The axis of the classes: the second where labels say so, else the last; 0 where there is none.

    Images have none without labels: the last axis of four or more is one of pixels.
    """
    if labels is not None and outputs.ndim > 2 and labels.shape == (outputs.shape[0], *outputs.shape[2:]) and (
            labels.shape != outputs.shape[:-1]):
        return 1
    has_classes = outputs.ndim in (2, 3) or (labels is not None and labels.shape == outputs.shape[:-1])
    return outputs.ndim - 1 if has_classes and outputs.ndim > 1 and outputs.shape[-1] > 1 else 0


def _real_places(values: Tensor, batch: Batch) -> Tensor:
    """Which places of ``(samples, length)`` are real, as a mask of the same shape; all of any other shape."""
    mask = batch.mask
    fits = mask is not None and mask.shape == values.shape
    return mask.cpu() if mask is not None and fits else torch.ones_like(values, dtype=torch.bool)


def _rows(values: Tensor, batch: Batch) -> Tensor:
    """Outputs as a vector for each sample, zero where the sample is padded."""
    if values.ndim > 2:
        places = _real_places(values.flatten(2)[:, :, 0], batch)
        values = values * places.view(*places.shape, *[1] * (values.ndim - 2))
    return values.reshape(values.shape[0], -1) if values.ndim else values.view(1, 1)
