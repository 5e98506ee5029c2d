"""The inputs and outputs of a layer as rows: the windows of a convolution unfolded."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from secateur.core.errors import UnsupportedError
from secateur.data.batch import Batch


def check_layer(name: str, module: nn.Module) -> nn.Module:
    """The module, if it is linear or a plain convolution.

    Raises:
        UnsupportedError: it is neither, or its weight is made by a parametrization; the message names it.
    """
    if not isinstance(module, (nn.Linear, _ConvNd)) or isinstance(module, _ConvTransposeNd):
        raise UnsupportedError(f"layer '{name}' is a {type(module).__name__}: what needs the inputs of a layer takes "
                               "linear layers and convolutions (not transposed); skip it, or use what needs no data")
    if "weight" not in module._parameters:
        raise UnsupportedError(f"layer '{name}' has a parametrization that makes its weight: what needs the inputs of "
                               "a layer takes plain weights; remove the parametrization, or skip it")
    return module


def groups_of(module: nn.Module) -> int:
    """The groups of a convolution, 1 for a linear layer."""
    return int(getattr(module, "groups", 1))


def rows_in(module: nn.Module, x: Tensor) -> Tensor:
    """The inputs of a layer as a matrix for each group: ``(groups, rows, columns)``.

    ``rows_in(m, x)[g] @ m.weight.chunk(groups)[g].flatten(1).T`` is what the layer gives before its bias.

    >>> import torch
    >>> x = torch.arange(16.0).view(1, 1, 4, 4)
    >>> rows_in(nn.Conv2d(1, 2, 2, stride=2), x)[0, 0].tolist()
    [0.0, 1.0, 4.0, 5.0]
    """
    if not isinstance(module, _ConvNd):
        return x.reshape(1, -1, x.shape[-1])
    sides = len(module.kernel_size)
    x = x if x.ndim == sides + 2 else x[None]
    x = _pad(module, x)
    for d, (k, s, dilation) in enumerate(zip(module.kernel_size, module.stride, module.dilation, strict=True)):
        x = x.unfold(2 + d, (k - 1) * dilation + 1, s)[..., ::dilation]
    n, c, places = x.shape[0], x.shape[1], x.shape[2:2 + sides]
    x = x.reshape(n, module.groups, c // module.groups, *places, *module.kernel_size)
    order = (1, 0, *range(3, 3 + sides), 2, *range(3 + sides, 3 + 2 * sides))
    return x.permute(order).reshape(module.groups, n * places.numel(), -1)


def _pad(module: _ConvNd, x: Tensor) -> Tensor:
    """The input of a convolution with its padding around it."""
    if module.padding == "valid" or not any(module._reversed_padding_repeated_twice):
        return x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return F.pad(x, module._reversed_padding_repeated_twice, mode)


def without_padding(module: nn.Module, batch: Batch, values: Tensor) -> Tensor:
    """What a layer reads or gives for a batch, without padding: a convolution's, whose places are other, as it is."""
    return values if isinstance(module, _ConvNd) else batch.real(values)


def rows_out(module: nn.Module, y: Tensor) -> Tensor:
    """The outputs of a layer as a matrix: ``(rows, outputs)``, rows as in :func:`rows_in`."""
    if not isinstance(module, _ConvNd):
        return y.reshape(-1, y.shape[-1])
    y = y if y.ndim == len(module.kernel_size) + 2 else y[None]
    return y.movedim(1, -1).reshape(-1, y.shape[1])
