"""The sizes that calls in the graph are given, before and after a cut: what a rewritten graph and a
repaired module both need to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from secateur.graph.calls import arguments_of, base_name
from secateur.graph.flow import Flow
from secateur.graph.rules.base import TensorAxes

_SHAPED = {"view": "size", "reshape": "shape", "_unsafe_view": "size", "expand": "size", "broadcast_to": "size",
           "zeros": "size", "ones": "size", "full": "size", "empty": "size", "new_zeros": "size", "new_ones": "size",
           "new_full": "size", "new_empty": "size"}
SPLITS = {"split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "unsafe_split"}


@dataclass(frozen=True)
class Change:
    """One argument of one call: its name, its value before and after the cut."""

    argument: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Ratio:
    """An open size of which a cut leaves ``new`` parts of ``old``."""

    size: fx.Node
    new: int
    old: int


class Sizes:
    """Sizes of axes after a cut. ``keeps`` says for each leaf that is cut which units stay."""

    def __init__(self, flow: Flow, keeps: dict[int, Tensor]):
        self.flow, self.keeps = flow, keeps
        self._sizes: dict[int, int] = {}

    def of(self, axis: int) -> int:
        """How many positions of an axis stay."""
        axis = self.flow.axes.find(axis)
        if axis not in self._sizes:
            cut = self.flow.axes.contains_any(axis, self.keeps)
            self._sizes[axis] = int(self.flow.axes.mask(axis, self.keeps).sum()) if cut else self.flow.axes.sizes[axis]
        return self._sizes[axis]

    def changes(self, node: fx.Node) -> list[Change]:
        """Every explicit size of a call, those that stay as they are too."""
        value, name = self.flow.values.get(node), base_name(node)
        arguments = arguments_of(node) if node.op == "call_function" and hasattr(node.target, "_schema") else {}
        if not arguments or value is None:
            return []
        return [c for c in self._changes(name, arguments, value, node) if c.old is not None]

    def _changes(self, name: str, arguments: dict[str, Any], value: Any, node: fx.Node) -> Iterator[Change]:
        if name in _SHAPED:
            old = arguments[_SHAPED[name]]
            yield Change(_SHAPED[name], old, self._sizes_after(old, value.axes[-len(old):] if old else []))
        elif name == "unflatten":
            first = arguments["dim"] % len(self._source(node).axes)
            made = value.axes[first:first + len(arguments["sizes"])]
            yield Change("sizes", arguments["sizes"], self._sizes_after(arguments["sizes"], made))
        elif name in SPLITS:
            yield self._split(name, arguments, value, node)
        elif name in ("slice", "narrow"):
            yield from self._segment(name, arguments, node)
        elif name in ("repeat", "tile"):
            yield self._repeat(arguments, value, node)
        elif name == "repeat_interleave" and arguments["dim"] is not None and not self._is_tensor(arguments["repeats"]):
            d = arguments["dim"] % len(value.axes)
            yield Change("repeats", arguments["repeats"],
                         self._copies(arguments["repeats"], self._source(node).axes[d], value.axes[d]))
        elif name in ("layer_norm", "rms_norm"):
            old = arguments["normalized_shape"]
            yield Change("normalized_shape", old, self._sizes_after(old, value.axes[-len(old):]))
        for key, axis in self.flow.notes.get(node, {}).items():
            argument = "num_groups" if name == "group_norm" else key
            yield Change(argument, arguments.get(argument), self.of(axis))

    def _is_tensor(self, arguments: Any) -> bool:
        """Whether an argument is a tensor, not a size."""
        return isinstance(arguments, fx.Node) and isinstance(self.flow.values.get(arguments), TensorAxes)

    def _source(self, node: fx.Node) -> TensorAxes:
        """The first tensor of a call."""
        value = self.flow.values[node.all_input_nodes[0]]
        assert isinstance(value, TensorAxes)
        return value

    def _sizes_after(self, old: Any, axes: list[int]) -> list[Any]:
        """A list of sizes after the cut; -1 stays, and open ones of axes that are not cut."""
        return [self._size_after(o, a) for o, a in zip(old, axes, strict=True)]

    def _size_after(self, old: Any, axis: int) -> Any:
        """A size after the cut."""
        whole, left = self.flow.axes.sizes[axis], self.of(axis)
        if isinstance(old, fx.Node) and left != whole:
            return Ratio(old, left, whole)
        return left if isinstance(old, int) and old != -1 else old

    def _split(self, name: str, arguments: dict[str, Any], value: Any, node: fx.Node) -> Change:
        """The segments of a split; the old value is what the code may hold: a length, lengths, a count."""
        d = (arguments["dim"] or 0) % len(value[0].axes)
        keys = ("split_sizes", "split_size", "chunks", "sections", "indices", "tensor_indices_or_sections")
        old = next(arguments[k] for k in keys if arguments.get(k) is not None)
        if not self.flow.axes.contains_any(self._source(node).axes[d], self.keeps):
            return Change("chunks" if "chunk" in name else "split", old, old)
        new = [self.of(v.axes[d]) for v in value]
        even = not isinstance(old, (list, tuple)) and name in ("split", "unsafe_split") and len({*new[:-1]}) < 2
        if name in ("chunk", "unsafe_chunk"):
            length = -(-sum(new) // old)
            same = new == [min(length, sum(new) - length * i) for i in range(len(new))]
            return Change("chunks", old, old if same else new)
        return Change("split", old, new[0] if even and new[-1] <= new[0] else new)

    def _segment(self, name: str, arguments: dict[str, Any], node: fx.Node) -> Iterator[Change]:
        """The ends of a slice, counted in kept positions."""
        x = self._source(node)
        d = (arguments["dim"] or 0) % len(x.axes)
        if not self.flow.axes.contains_any(x.axes[d], self.keeps):
            return
        before = torch.cat([torch.zeros(1, dtype=torch.int64), self.flow.axes.mask(x.axes[d], self.keeps).cumsum(0)])
        for key in ("start", "end"):
            old = arguments.get(key)
            if isinstance(old, int) and abs(old) <= x.shape[d] and (arguments.get("step") or 1) == 1:
                count = int(before[old])
                yield Change(key, old, count - int(before[-1]) if old < 0 else count)
        if name == "narrow":
            end = arguments["start"] + arguments["length"]
            yield Change("length", arguments["length"], int(before[end]) - int(before[arguments["start"]]))

    def _repeat(self, arguments: dict[str, Any], value: TensorAxes, node: fx.Node) -> Change:
        """How often each axis is repeated."""
        key = "repeats" if "repeats" in arguments else "dims"
        x, old = self._source(node), arguments[key]
        axes = [None] * (len(value.axes) - len(x.axes)) + x.axes
        pairs = list(zip(axes, value.axes, strict=True))[-len(old):]
        return Change(key, old, [self._copies(o, *pair) for o, pair in zip(old, pairs, strict=True)])

    def _copies(self, old: Any, inner: int | None, outer: int) -> Any:
        """How often the axis ``inner``, none where it is new, is there in ``outer`` after the cut."""
        sizes = self.flow.axes.sizes
        if inner is not None and not sizes[inner]:
            return old
        whole = sizes[outer] // (1 if inner is None else sizes[inner])
        left = self.of(outer) // (1 if inner is None else self.of(inner))
        if isinstance(old, fx.Node):
            return old if left == whole else Ratio(old, left, whole)
        return left


def module_of(node: fx.Node) -> str:
    """The path of the module whose forward made a call."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    return str(path).split("@")[0]
