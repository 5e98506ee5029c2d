"""Operators on networks of which units are held at zero and left out of every statistic."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx

from secateur.core.tensors import tensors_in
from secateur.graph.calls import base_name, bind_arguments, reduced_dims
from secateur.graph.flow import Flow
from secateur.graph.proof.float64 import address
from secateur.graph.proof.reference import plain
from secateur.graph.rules.base import TensorAxes


class MaskedCalls:
    """Calls operators so that removed units are not there: zero everywhere, absent from every statistic."""

    def __init__(self, flow: Flow, keeps: dict[int, Tensor], change: Callable[[str, Tensor], Tensor]):
        self.flow, self.keeps, self.change = flow, keeps, change

    def stored(self, name: str, tensor: Tensor) -> Tensor:
        """A stored tensor as ``change`` gives it, with the removed positions at zero."""
        value = self.change(name, tensor)
        value = value.clone() if value.data_ptr() == tensor.data_ptr() else value
        if name in self.flow.whole_names:
            return value
        self._blank_(value, self.flow.stored[name])
        return value

    def call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one operator on values whose removed positions are zero; blank them in the result."""
        if node in self.flow.whole:
            return plain(node, args, kwargs)
        args, kwargs = self._blank_weights(node.args, args), self._blank_weights(node.kwargs, kwargs)
        special = SPECIAL.get(base_name(node).rstrip("_"))
        first = next(iter(self.flow.tensors(*node.all_input_nodes)), None)
        if special and first is not None and self._is_cut(first):
            result = special(self, node, first, args, kwargs)
        else:
            result = plain(node, args, kwargs)
        if node.target is not operator.getitem:
            storages = {address(t) for t in tensors_in((args, kwargs))}
            self._blank_all(result, self.flow.values.get(node), storages, base_name(node).endswith("_"))
        return result

    def _blank_weights(self, nodes: Any, values: Any) -> Any:
        """The arguments of a call; a whole weight that ends in it, without what is removed."""
        if isinstance(nodes, fx.Node):
            axes = self.flow.values.get(nodes)
            return self.blank(values, axes, 0) if nodes in self.flow.whole and isinstance(axes, TensorAxes) else values
        if isinstance(nodes, dict):
            return {key: self._blank_weights(nodes[key], values[key]) for key in nodes}
        if isinstance(nodes, (list, tuple)):
            parts = [self._blank_weights(n, v) for n, v in zip(nodes, values, strict=True)]
            return tuple(parts) if isinstance(nodes, tuple) else parts
        return values

    def _is_cut(self, value: TensorAxes) -> bool:
        """Whether a value has removed positions."""
        return any(self.flow.axes.contains_any(a, self.keeps) for a in value.axes)

    def _blank_all(self, result: Any, value: Any, storages: set[int], in_place: bool) -> None:
        """Zero the removed positions of fresh and of changed tensors; a view of a blank tensor is blank already."""
        if isinstance(result, Tensor) and isinstance(value, TensorAxes):
            if in_place or address(result) not in storages:
                self._blank_(result, value)
        elif isinstance(result, (tuple, list)) and isinstance(value, list):
            for part, its_value in zip(result, value, strict=False):
                self._blank_all(part, its_value, storages, in_place)

    def _blank_(self, tensor: Tensor, value: TensorAxes) -> None:
        """Zero the removed positions of a tensor in place."""
        for dim, positions in self._removed_positions(tensor, value):
            tensor.index_fill_(dim, positions, 0)

    def blank(self, tensor: Tensor, value: TensorAxes, fill: float) -> Tensor:
        """The tensor with ``fill`` at removed positions."""
        for dim, positions in self._removed_positions(tensor, value):
            tensor = tensor.index_fill(dim, positions, fill)
        return tensor

    def _removed_positions(self, tensor: Tensor, value: TensorAxes) -> Iterator[tuple[int, Tensor]]:
        """The axes of a tensor that a cut shortens, each with the positions that go: int64."""
        for dim, axis in enumerate(value.axes if tensor.ndim == len(value.axes) else ()):
            if self.flow.axes.contains_any(axis, self.keeps):
                yield dim, (~self.flow.axes.mask(axis, self.keeps)).nonzero().flatten().to(tensor.device)

    def present(self, x: Tensor, value: TensorAxes) -> Tensor:
        """1 where a position stays, 0 where it is removed; the shape of ``x``."""
        return self.blank(torch.ones_like(x), value, 0)


_Special = Callable[[MaskedCalls, fx.Node, TensorAxes, Any, Any], Any]


def _moments(x: Tensor, there: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sum of squared differences over the positions that are there."""
    count = there.sum(dims, keepdim=True).clamp_min(1)
    mean = (x * there).sum(dims, keepdim=True) / count
    return count, mean, (((x - mean) * there) ** 2).sum(dims, keepdim=True)


def _masked_mean(masked: MaskedCalls, node: fx.Node, value: TensorAxes, args: Any, kwargs: Any) -> Any:
    """The mean over kept positions."""
    arguments = bind_arguments(node, args, kwargs)
    x = arguments["self"]
    there, dims = masked.present(x, value), reduced_dims(arguments.get("dim"), x.ndim)
    keep = bool(arguments.get("keepdim"))
    return x.sum(dims, keepdim=keep) / there.sum(dims, keepdim=keep).clamp_min(1)


def _masked_var(masked: MaskedCalls, node: fx.Node, value: TensorAxes, args: Any, kwargs: Any) -> Any:
    """Variance or standard deviation over kept positions, with the mean where asked."""
    arguments = bind_arguments(node, args, kwargs)
    x, dims = arguments["self"], reduced_dims(arguments.get("dim"), arguments["self"].ndim)
    count, mean, squares = _moments(x, masked.present(x, value), dims)
    correction = arguments.get("correction", int(bool(arguments.get("unbiased", True))))
    result = squares / (count - (1 if correction is None else correction)).clamp_min(0)
    result = result.sqrt() if "std" in base_name(node) else result
    parts = [t if arguments.get("keepdim") else t.squeeze(tuple(dims)) for t in (result, mean)]
    return tuple(parts) if "mean" in base_name(node) else parts[0]


def _fill(value: float) -> _Special:
    """The operator itself, with a value at removed positions that cannot change what it gives for the others."""
    def call(masked: MaskedCalls, node: fx.Node, first: TensorAxes, args: Any, kwargs: Any) -> Any:
        return plain(node, (masked.blank(args[0], first, value), *args[1:]), kwargs)
    return call


def _masked_length(masked: MaskedCalls, node: fx.Node, value: TensorAxes, args: Any, kwargs: Any) -> Any:
    """A norm over kept positions: of a negative order the least value leads, and a removed one can never be it."""
    arguments = bind_arguments(node, args, kwargs)
    order = next((arguments[k] for k in ("ord", "p") if arguments.get(k) is not None), 2)
    least = not isinstance(order, str) and order < 0
    return _fill(torch.inf if least else 0)(masked, node, value, args, kwargs)


def _masked_extremes(masked: MaskedCalls, node: fx.Node, value: TensorAxes, args: Any, kwargs: Any) -> Any:
    """Both extremes over kept positions."""
    low, high = (_fill(fill)(masked, node, value, args, kwargs) for fill in (torch.inf, -torch.inf))
    return low[0], high[1]


def _masked_norm(masked: MaskedCalls, node: fx.Node, value: TensorAxes, args: Any, kwargs: Any) -> Any:
    """Layer, RMS, group, instance or training-mode batch norm with statistics over kept positions."""
    arguments, name = bind_arguments(node, args, kwargs), base_name(node)
    x = arguments["input"]
    if name in ("batch_norm", "instance_norm") and not (arguments.get("training") or arguments.get("use_input_stats")):
        return plain(node, args, kwargs)
    there, shape = masked.present(x, value), x.shape
    if name == "group_norm":
        x, there = (t.reshape(shape[0], arguments["num_groups"], -1) for t in (x, there))
        dims = [2]
    elif name in ("batch_norm", "instance_norm"):
        dims = [d for d in range(x.ndim) if d != 1 and (d or name == "batch_norm")]
    else:
        dims = list(range(x.ndim - len(arguments["normalized_shape"]), x.ndim))
    count, mean, squares = _moments(x, there, dims)
    eps = arguments["eps"] if arguments["eps"] is not None else torch.finfo(x.dtype).eps
    if name == "rms_norm":
        out = x / ((x * x).sum(dims, keepdim=True) / count + eps).sqrt()
    else:
        out = (x - mean) / (squares / count + eps).sqrt()
    return _affine(out.reshape(shape), arguments, per_channel=name not in ("layer_norm", "rms_norm"))


def _affine(x: Tensor, arguments: dict[str, Any], per_channel: bool) -> Tensor:
    """Scale and shift, along the second axis or along the last ones."""
    for key, join in (("weight", torch.mul), ("bias", torch.add)):
        if arguments.get(key) is not None:
            shape = (-1, *[1] * (x.ndim - 2)) if per_channel else arguments[key].shape
            x = join(x, arguments[key].view(shape))
    return x


SPECIAL: dict[str, _Special] = {
    **dict.fromkeys(["mean", "nanmean"], _masked_mean),
    **dict.fromkeys(["prod", "all"], _fill(1)),
    **dict.fromkeys(["amin", "min"], _fill(torch.inf)),
    **dict.fromkeys(["amax", "max", "logsumexp", "softmax", "log_softmax", "_softmax", "_log_softmax"],
                    _fill(-torch.inf)),
    "aminmax": _masked_extremes,
    **dict.fromkeys(["norm", "linalg_vector_norm"], _masked_length),
    **dict.fromkeys(["var", "std", "var_mean", "std_mean"], _masked_var),
    **dict.fromkeys(["layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm"], _masked_norm),
}
"""Operators that take a statistic or share something out among positions, as they are without the removed ones."""
