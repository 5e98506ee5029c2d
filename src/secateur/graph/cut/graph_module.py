"""The cut graph as a module: for networks whose own code has sizes written into it."""

from __future__ import annotations

import operator
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import CutGraphWarning
from secateur.core.modules import place_in
from secateur.graph.calls import arguments_of, base_name
from secateur.graph.capture import FlatGraph
from secateur.graph.cut.signature import GraphInputs, signature_of
from secateur.graph.cut.sizes import SPLITS, Change, Ratio, Sizes
from secateur.graph.cut.stored_graph import StoredGraph

# Checks of what the trace saw, sizes among them, which a cut changes.
DROPPED = {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size", "sym_constrain_range"}


class ExportedNetwork(nn.Module):
    """A cut network as its traced graph, with the names of the parameters that it had.

    It computes what the network computes in evaluation mode, in train mode too, where it warns of that; its parameters
    learn. ``original`` names the class it came from.
    """

    def __init__(self, graph: fx.GraphModule, inputs: GraphInputs, out_spec: Any, original: str):
        super().__init__()
        self.body, self.original = graph, original
        self._inputs, self._out_spec = inputs, out_spec

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Set the mode, which changes nothing in what is computed.

        Warns:
            CutGraphWarning: train mode is asked for.
        """
        if mode:
            warnings.warn(f"the cut graph of {self.original} always runs as in evaluation mode, even after train(): "
                          "no dropout, and norms use their stored statistics", CutGraphWarning,
                          stacklevel=2)
        return super().train(mode)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the network, in its own structure.

        Raises:
            SecateurError: inputs that the traced graph does not hold for.
        """
        flat = self.body(*self._inputs.leaves(args, kwargs))
        return pytree.tree_unflatten(flat, self._out_spec)


def build_network(model: nn.Module, graph: FlatGraph, sizes: Sizes, small: dict[str, Tensor]) -> ExportedNetwork:
    """The traced graph with the small tensors in place and every written size rewritten.

    ``small`` holds the sliced parameters and buffers by name.
    """
    body, values = fx.Graph(), {}
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = _place(body, graph, node)
        elif node.op == "output":
            body.output(tuple(pytree.tree_leaves(fx.map_arg(node.args[0], values.__getitem__))))
        elif base_name(node) not in DROPPED:
            values[node] = body.node_copy(node, values.__getitem__)
            _rewrite(values[node], sizes.changes(node), values)
    root = _holder(graph, small)
    for name, tensor in vars(graph.module).items():
        root.__dict__.setdefault(name, tensor)
    for name, branch in graph.module.named_children():
        root.add_module(name, StoredGraph(branch, branch.graph) if isinstance(branch, fx.GraphModule) else branch)
    for name, tensor in graph.module.named_buffers():
        _attach(root, name, tensor)
    inputs = signature_of(model.forward, graph)
    return ExportedNetwork(StoredGraph(root, body), inputs, graph.out_spec, type(model).__name__)


def _place(body: fx.Graph, graph: FlatGraph, node: fx.Node) -> fx.Node:
    """A placeholder as the stored tensor or the input that it stands for."""
    if graph.sources[str(node.target)][0] == "input":
        return body.placeholder(str(node.target))
    return body.get_attr(graph.stored_name(node) or f"constant_{node.name}")


def _holder(graph: FlatGraph, small: dict[str, Tensor]) -> nn.Module:
    """A tree of empty modules that holds the tensors under their old names."""
    root = nn.Module()
    for node in (n for n in graph.nodes if n.op == "placeholder"):
        kind, what = graph.sources[str(node.target)]
        if name := graph.stored_name(node):
            _attach(root, name, small[name])
        elif kind == "constant" and isinstance(what, Tensor):
            _attach(root, f"constant_{node.name}", what)
    return root


def _attach(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Store a tensor under a dotted name."""
    root, last = place_in(root, name)
    if isinstance(tensor, nn.Parameter):
        root.register_parameter(last, tensor)
    elif last not in root._buffers:
        root.register_buffer(last, tensor)


def _rewrite(node: fx.Node, changes: list[Change], copies: dict[fx.Node, fx.Node]) -> None:
    """Put new sizes into a copied call; open ones among them are the copies of what computes them."""
    for change in (replace(c, new=_copy_argument(node, c.new, copies)) for c in changes if c.old != c.new):
        if change.argument in ("split", "chunks") and base_name(node) in SPLITS:
            several, dim = isinstance(change.new, list), arguments_of(node)["dim"]
            node.target = torch.ops.aten.split_with_sizes.default if several else torch.ops.aten.split.Tensor
            node.args, node.kwargs = (node.all_input_nodes[0], change.new, dim), {}
        else:
            _set_argument(node, change.argument, change.new)


def _copy_argument(node: fx.Node, new: Any, copies: dict[fx.Node, fx.Node]) -> Any:
    """A new argument of a copied call, with the copies of the nodes in it, scaled where a cut reaches an open size."""
    if isinstance(new, list):
        return [_copy_argument(node, one, copies) for one in new]
    if isinstance(new, Ratio):
        with node.graph.inserting_before(node):
            whole = node.graph.call_function(operator.mul, (copies[new.size], new.new))
            return node.graph.call_function(operator.floordiv, (whole, new.old))
    return copies[new] if isinstance(new, fx.Node) else new


def _set_argument(node: fx.Node, name: str, value: Any) -> None:
    """Set an argument of a call by name."""
    names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    at = names.index(name)
    if at < len(node.args):
        node.update_arg(at, value)
    else:
        node.update_kwarg(name, value)
