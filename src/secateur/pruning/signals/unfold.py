"""The inputs and outputs of a layer as rows: the windows of a convolution unfolded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from secateur.core.errors import UnsupportedError
from secateur.core.modules import each_side
from secateur.data.batch import Batch


def check_layer(name: str, module: nn.Module) -> nn.Module:
    """The module, if it is linear or a plain convolution.

    Raises:
        UnsupportedError: it is neither, or its weight is made by a parametrization; the message names it.
    """
    if not isinstance(module, (nn.Linear, _ConvNd)) or isinstance(module, _ConvTransposeNd):
        raise UnsupportedError(f"layer '{name}' is a {type(module).__name__}: methods that use a layer's inputs "
                               "support linear layers and convolutions (not transposed); skip it, or use a method "
                               "that needs no data")
    if "weight" not in module._parameters:
        raise UnsupportedError(f"layer '{name}' has a parametrization that makes its weight: methods that use a "
                               "layer's inputs need plain weights; remove the parametrization, or skip it")
    return module


def layers_with_inputs(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that :func:`check_layer` takes, by name."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, _ConvNd)) and not isinstance(module, _ConvTransposeNd)
            and "weight" in module._parameters}


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
    windows = windows_of(module)
    sides = len(windows.size)
    x = x if x.ndim == sides + 2 else x[None]
    x = F.pad(x, windows.padding, windows.mode) if any(windows.padding) else x
    for d, (k, s, dilation) in enumerate(zip(windows.size, windows.stride, windows.dilation, strict=True)):
        x = x.unfold(2 + d, (k - 1) * dilation + 1, s)[..., ::dilation]
    n, c, places = x.shape[0], x.shape[1], x.shape[2:2 + sides]
    x = x.reshape(n, module.groups, c // module.groups, *places, *windows.size)
    order = (1, 0, *range(3, 3 + sides), 2, *range(3 + sides, 3 + 2 * sides))
    return x.permute(order).reshape(module.groups, n * places.numel(), -1)


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution, one entry a side; ``padding`` and ``mode`` as :func:`torch.nn.functional.pad` takes
    them.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    mode: str


def windows_of(module: _ConvNd) -> Windows:
    """The windows that torch's own forward uses, of attributes that were set after the module was made, too.

    >>> conv = nn.Conv1d(1, 1, 3)
    >>> conv.padding, conv.dilation = "same", (2,)
    >>> windows_of(conv).padding
    (2, 2)
    """
    size = tuple(module.weight.shape[2:])
    stride, dilation = (each_side(value, len(size)) for value in (module.stride, module.dilation))
    if module.padding_mode != "zeros":
        # torch pads by this list then, and looks at no other attribute
        return Windows(size, stride, dilation, tuple(module._reversed_padding_repeated_twice), module.padding_mode)
    if module.padding == "same":
        totals = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(n, n) for n in each_side(0 if module.padding == "valid" else module.padding, len(size))]
    return Windows(size, stride, dilation, tuple(n for side in reversed(sides) for n in side), "constant")


def without_padding(module: nn.Module, batch: Batch, values: Tensor) -> Tensor:
    """What a layer reads or gives for a batch, without padding: a convolution's, whose places are other, as it is."""
    return values if isinstance(module, _ConvNd) else batch.real(values)


def rows_out(module: nn.Module, y: Tensor) -> Tensor:
    """The outputs of a layer as a matrix: ``(rows, outputs)``, rows as in :func:`rows_in`."""
    if not isinstance(module, _ConvNd):
        return y.reshape(-1, y.shape[-1])
    y = y if y.ndim == module.weight.ndim else y[None]
    return y.movedim(1, -1).reshape(-1, y.shape[1])
