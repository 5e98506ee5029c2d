"""How near a cut network's outputs are to the original's, where there are no labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError
from secateur.data.calibration import Batch, Calibration
from secateur.data.forward import call, watch


@dataclass(frozen=True)
class Closeness:
    """The outputs of a cut network beside the original's, padding left out.

    Attributes:
        error: the norm of the difference over all samples as a fraction of the norm of the original's outputs.
        cosine: the mean over the samples of the cosine between the two outputs, each as one vector.
        samples: how many there were.
    """

    error: float
    cosine: float
    samples: int


def closeness(original: nn.Module, cut: nn.Module, samples: Calibration) -> Closeness:
    """Compare two networks on samples; of several outputs the first is compared.

    Raises:
        SecateurError: the networks give no tensor of floats.

    >>> net, x = nn.Linear(2, 2, bias=False), torch.eye(2)
    >>> half = nn.Linear(2, 2, bias=False)
    >>> _ = half.weight.data.copy_(net.weight.data / 2)
    >>> found = closeness(net, half, Calibration([x]))
    >>> round(found.error, 6), round(found.cosine, 6), found.samples
    (0.5, 1.0, 2)
    """
    apart, size, cosines = 0.0, 0.0, list[Tensor]()
    with watch(original, {}), watch(cut, {}), torch.inference_mode():
        for batch in samples:
            whole, small = first(call(original, batch)), first(call(cut, batch))
            apart += float(batch.real(whole - small).square().sum())
            size += float(batch.real(whole).square().sum())
            cosines.append(torch.cosine_similarity(rows(whole, batch), rows(small, batch), 1))
    means = torch.cat(cosines)
    return Closeness((apart / max(size, 1e-300)) ** 0.5, float(means.mean()), len(means))


def first(outputs: Any) -> Tensor:
    """The first tensor of floats among a network's outputs, in float64."""
    for value in pytree.tree_leaves(outputs):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.double().cpu()
    raise SecateurError(f"the network gives {type(outputs).__name__} without a tensor of floats; needed is one that "
                        "its outputs can be compared by")


def rows(values: Tensor, batch: Batch) -> Tensor:
    """Outputs as a vector for each sample, zero where the sample is padded."""
    mask = batch.mask
    if mask is not None and values.ndim > 2 and values.shape[:2] == mask.shape:
        values = values * mask.cpu().view(*mask.shape, *[1] * (values.ndim - 2))
    return values.reshape(values.shape[0], -1) if values.ndim else values.view(1, 1)
