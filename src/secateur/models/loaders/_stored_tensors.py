"""The tensors that an exported graph stores, as its calls read them: transposed and reshaped on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

SAME = {"to", "contiguous", "alias", "detach", "detach_", "clone", "lift_fresh_copy"}
MOVED = {"permute", "transpose", "t", "reshape", "view", "unsqueeze", "squeeze", "numpy_T"}


@dataclass(frozen=True, eq=False)
class Stored:
    """A stored tensor as a call reads it: its name and shape, the moves on the way, and what comes out of them."""

    name: str
    shape: tuple[int, ...]
    moves: tuple[fx.Node, ...]
    value: Tensor

    def back(self, value: Tensor) -> Tensor:
        """How a value must be stored so that calls read it: the moves undone, by where each of them puts a number."""
        places = move(torch.arange(torch.Size(self.shape).numel()).view(self.shape),
                      [m for m in self.moves if base(m) in MOVED])
        made = value.new_empty(value.numel())
        made[places.flatten()] = value.detach().flatten()
        return made.view(self.shape)


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a tensor of a layer comes from: its name in the program, how it is read there, whether it is transposed."""

    name: str
    read: Stored | None = None
    turned: bool = False

    def back(self, value: Tensor) -> Tensor:
        """A value of the layer's tensor as the program stores it."""
        value = value.detach().T.contiguous() if self.turned else value.detach()
        return value if self.read is None else self.read.back(value)


Origins = dict[str, Origin]


def find_stored(node: Any, tensors: Mapping[str, Any]) -> Stored | None:
    """The floating-point tensor behind a node, if only moves lie between; None otherwise, and where other calls read
    the tensor too."""
    moves: list[fx.Node] = []
    while isinstance(node, fx.Node) and base(node) in SAME | MOVED and len(node.users) == 1:
        moves.insert(0, node)
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.op != "get_attr" or len(node.users) > 1:
        return None
    tensor = tensors[str(node.target)]
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return None
    return Stored(str(node.target), tuple(tensor.shape), tuple(moves), move(tensor.detach(), moves))


def move(tensor: Tensor, moves: Sequence[fx.Node]) -> Tensor:
    """The tensor after some moves."""
    for node in moves:
        tensor = node.target(tensor, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return tensor


def base(node: Any) -> str:
    """The name of the operator that a node calls, without its overload; empty where a node calls none."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return ""
    return str(getattr(node.target, "_opname", getattr(node.target, "__name__", "")))


def drop_checks(graph: fx.Graph) -> fx.Graph:
    """The same graph without checks of metadata, and without conversions to the type that a value has already."""
    for node in list(graph.nodes):
        if base(node) == "_assert_tensor_metadata" or (node.op == "call_module" and "guards" in str(node.target)):
            graph.erase_node(node)
        elif base(node) == "to" and _same_type(node, node.args[0]):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return graph


def _same_type(*nodes: Any) -> bool:
    """Whether the values of nodes are tensors of one type on one device."""
    values = [node.meta.get("val") for node in nodes]
    return all(isinstance(v, Tensor) for v in values) and len({(v.dtype, v.device, v.layout) for v in values}) == 1
