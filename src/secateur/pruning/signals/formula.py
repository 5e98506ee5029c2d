"""Whether layers compute the plain formula ``x W' + b``, which refits and the signals of a layer's inputs assume."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from secateur.core.errors import UnsupportedError
from secateur.data.batch import Batch
from secateur.data.forward import call, watch
from secateur.measure.compare import LARGEST_DIFFERENCE, difference

FORMULA = "x W' + b"
_CONVOLUTIONS: tuple[type[Any], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_OTHER = f"does not compute {FORMULA} with its weight and bias"
_ROUNDINGS = 4
"""In half precision outputs may differ by so many roundings of their type, which is more than the usual limit."""


class _Probe:
    """Compares what one layer makes of another weight and bias with the plain formula, in its first call.

    The layer's own weight would hide a forward that is the plain formula for this weight alone: a bias of zero that is
    never added, a weight that is normalised already.
    """

    def __init__(self, module: nn.Module):
        self.module, self.reason = module, ""
        self._begun, self._read = False, dict[str, Any]()

    def begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The first hook before the forward: calls the layer once more, with all its other hooks."""
        if not self._begun:
            self._begun = True
            self.reason = self._difference(args, kwargs)

    def read(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        """The last hook before the forward: keeps a copy of what it reads, which it may write over."""
        self._read.setdefault("x", args[0].detach().clone() if args and isinstance(args[0], Tensor) else None)

    def _difference(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """How the layer differs from the plain formula; empty where it does not."""
        weight, bias = _draw(self.module, _size(args[0]) if args and isinstance(args[0], Tensor) else 1.0)
        given = {"weight": weight.clone()} | ({} if bias is None else {"bias": bias.clone()})
        try:
            got = functional_call(self.module, given, _copies(args), kwargs)
        except Exception:
            return "does not run with another weight"
        x = self._read["x"]
        if x is None or not isinstance(got, Tensor):
            return "takes or returns something other than one tensor"
        try:
            expected = plain_outputs(self.module, x, weight, bias)
        except Exception:
            return _OTHER
        limit = max(LARGEST_DIFFERENCE, _ROUNDINGS * torch.finfo(got.dtype).eps)
        # Values that overflow say nothing; what sums them refuses them.
        return "" if not torch.isfinite(expected).all() or difference(got, expected) <= limit else _OTHER


def _draw(module: nn.Module, size: float) -> tuple[Tensor, Tensor | None]:
    """Another weight and bias for a layer whose inputs are of this size.

    The weight is of twice the size, so that a forward that bounds it shows, and the bias as large as what the weight
    makes of the inputs, so that neither hides the other.
    """
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    generator, scale = torch.Generator(weight.device).manual_seed(0), 2 * _size(weight)
    made, *rest = (torch.randn(t.shape, generator=generator, device=t.device, dtype=torch.float32)
                   for t in (weight, bias) if isinstance(t, Tensor))
    wide = scale * size * weight[0].numel() ** 0.5
    return (scale * made).to(weight.dtype), (wide * rest[0]).to(weight.dtype) if rest else None


def _size(values: Tensor) -> float:
    """The root mean square of some values, 1 where that is nothing to scale by."""
    found = float(values.detach().double().square().mean().sqrt())
    return found if 0 < found < float("inf") else 1.0


def _copies(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of which a forward may write over the tensors."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in args)


def plain_outputs(module: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What torch's own class of a layer gives for its input with this weight and bias.

    >>> plain_outputs(nn.Linear(2, 1), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.ones(1))
    tensor([[12.]])
    """
    dtype = torch.promote_types(x.dtype, weight.dtype)
    x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    for kind in _CONVOLUTIONS:
        if isinstance(module, kind):
            made: Tensor = kind._conv_forward(module, x, weight, bias)
            return made
    return nn.functional.linear(x, weight, bias)


def own_formulas(model: nn.Module, names: Iterable[str], batch: Batch) -> dict[str, str]:
    """The layers, of some linear and convolutional ones, that do not compute the plain formula, with what they do.

    Each is called once more in one pass over a batch, with another weight and bias; outputs that differ by more than
    :data:`secateur.measure.compare.LARGEST_DIFFERENCE` of the largest, in half precision by more than four roundings,
    are another formula. Layers that are never called are not told of.

    >>> class Scaled(nn.Linear):
    ...     def forward(self, x):
    ...         return 2 * super().forward(x)
    >>> net = nn.Sequential(nn.Linear(3, 3), Scaled(3, 3))
    >>> own_formulas(net, ["0", "1"], Batch((torch.ones(1, 3),)))
    {'1': "does not compute x W' + b with its weight and bias"}
    """
    probes = {name: _Probe(model.get_submodule(name)) for name in names}
    with ExitStack() as stack, watch(model, {}), torch.no_grad():
        for probe in probes.values():
            first = probe.module.register_forward_pre_hook(probe.begin, prepend=True, with_kwargs=True)
            stack.callback(first.remove)
            stack.callback(probe.module.register_forward_pre_hook(probe.read).remove)
        call(model, batch)
    return {name: probe.reason for name, probe in probes.items() if probe.reason}


def check_formulas(own: dict[str, str], model: nn.Module, names: Iterable[str]) -> None:
    """Refuse layers that do not compute the plain formula.

    Raises:
        UnsupportedError: the message names the first.
    """
    if name := next((name for name in names if name in own), None):
        kind = type(model.get_submodule(name)).__name__
        raise UnsupportedError(f"layer '{name}' ({kind}) {own[name]}, as methods that use a layer's inputs assume; "
                               "skip it, or use a method that needs no data")
