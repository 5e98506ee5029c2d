"""Puts a bias that an exported graph adds in a call of its own into the layer before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from secateur.core.modules import at
from secateur.models.loaders._stored_tensors import MOVED, SAME, Origin, Origins, base, find_stored, move

# reshape and view name the sizes of the outputs, which the stand-in of ones in _lies_along_outputs has not.
_PASSED = SAME | (MOVED - {"reshape", "view"})


def fold_biases(root: nn.Module, graph: fx.Graph, tensors: Mapping[str, Any], origins: Origins) -> None:
    """Make the stored vector that is added to a layer's outputs the bias of that layer, where it has none.

    The outputs may be permuted between the layer and the sum.
    """
    for node in [n for n in graph.nodes if n.op == "call_module"]:
        layer = at(root, node.target)
        if not isinstance(layer, (nn.Linear, _ConvNd)) or layer.bias is not None:
            continue
        moves, total = _moves_after(node)
        last = moves[-1] if moves else node
        if base(total) not in ("add", "add_") or total.kwargs or total.args[0] is not last:
            continue
        bias = find_stored(total.args[1], tensors)
        if bias and _lies_along_outputs(bias.value, node, layer, moves):
            layer.bias = nn.Parameter(bias.value.flatten().clone())
            origins[f"{node.target}.bias"] = Origin(bias.name, bias)
            total.replace_all_uses_with(last)
            graph.erase_node(total)


def _moves_after(node: fx.Node) -> tuple[list[fx.Node], Any]:
    """The moves that a value goes through and the call that reads it after them; None where several calls read it."""
    moves: list[fx.Node] = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        if base(node) not in _PASSED:
            return moves, node
        moves.append(node)
    return moves, None


def _lies_along_outputs(bias: Tensor, node: fx.Node, layer: nn.Module, moves: Sequence[fx.Node]) -> bool:
    """Whether a vector is added along the axis of a layer's outputs, wherever the moves have put that axis."""
    sides = len(layer.kernel_size) if isinstance(layer, _ConvNd) else 0
    weight, shape = layer.weight, [1] * node.meta["val"].ndim
    assert isinstance(weight, Tensor)
    shape[len(shape) - 1 - sides] = weight.shape[0]
    after = tuple(move(torch.empty(shape), moves).shape)
    return (1,) * (len(shape) - bias.ndim) + tuple(bias.shape) == after
