"""The cut graph of a network whose code has sizes written into it, for as many other sizes as it can be traced for."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating
from secateur.core.modules import stored_tensors
from secateur.core.pytree import repeat
from secateur.core.types import Cut
from secateur.graph.analysis import analyse
from secateur.graph.capture import FlatGraph, capture, reaches
from secateur.graph.cut import graph_module
from secateur.graph.cut.sizes import Sizes
from secateur.graph.example import double_batch
from secateur.graph.proof.float64 import eager_outputs
from secateur.graph.proof.oracles import LIMIT, Trace, distance, masked_outputs

ONE_SHAPE = "it takes inputs of the example's shape only"
log = logging.getLogger(__name__)


def graphs(model: nn.Module, small: nn.Module, cuts: Sequence[Cut], trace: Trace,
           sizes: Sizes) -> Iterator[tuple[nn.Module, list[str]]]:
    """The cut graph, for any batch and lengths where the network can be traced so, for any batch, for one shape."""
    note = (f"the code of {type(model).__name__} has fixed sizes in it: its cut graph is returned instead, which "
            "always runs as in evaluation mode")
    for reach in reaches((trace.first.args, trace.first.kwargs))[:-1]:
        try:
            yield _open_graph(model, small, cuts, trace, reach), [note]
        except Exception as error:
            log.debug("no graph for any %s: %s", reach, readable(error))
    network = graph_module.build_network(model, trace.first, sizes, stored_tensors(small))
    yield network, [f"{note}; {ONE_SHAPE}"]


def _open_graph(model: nn.Module, small: nn.Module, cuts: Sequence[Cut], trace: Trace, reach: str) -> nn.Module:
    """The cut graph of a trace with open axes, checked at other sizes too.

    Raises:
        UnsupportedError: the network cannot be traced so, or the graph does not hold at other sizes.
    """
    whole = trace.first.kwargs or trace.first.args
    structure = analyse(model, [capture(model, double_batch(whole), reach)], True)
    open_trace: Trace = structure.trace
    leaf_of = {g.members: open_trace.leaf_of[g.name] for g in structure.groups}
    keeps = {leaf_of[cut.group.members]: cut.keep.cpu() for cut in cuts if cut.group}
    sizes = Sizes(open_trace.flow, keeps)
    cut_graph = graph_module.build_network(model, open_trace.first, sizes, stored_tensors(small))
    if reach == "length":
        _check_lengths(model, cut_graph, open_trace, keeps)
    return cut_graph


def _check_lengths(model: nn.Module, small: nn.Module, trace: Trace, keeps: dict[int, Tensor]) -> None:
    """Compare a cut graph with the masked original at other sizes of all open axes.

    Raises:
        UnsupportedError: they differ, or there are no guards to say for which sizes the trace holds.
    """
    if trace.first.guards is None:
        raise UnsupportedError("this version of torch does not say for which lengths a trace is valid")
    other = _resize(trace.first)
    with evaluating(model), torch.no_grad():
        model(*copy.deepcopy(other.args), **copy.deepcopy(other.kwargs))
    trace = replace(trace, graphs=(other,))
    error = distance(eager_outputs(small, other.args, other.kwargs), masked_outputs(model, trace, keeps))
    if not error <= LIMIT:
        raise UnsupportedError(f"at other lengths the outputs differ by {error:.1e} (relative)")


def _resize(graph: FlatGraph) -> FlatGraph:
    """A trace with an example of other sizes: every open axis half as long, or twice where that is short."""
    def other_sizes(value: Any, node: fx.Node) -> Any:
        for axis, size in enumerate(node.meta["val"].shape if isinstance(value, Tensor) else ()):
            if not isinstance(size, int):
                value = repeat(value, value.shape[axis] // 2 if value.shape[axis] > 3 else 2 * value.shape[axis], axis)
        return value

    leaves = [other_sizes(value, node) for value, node in zip(graph.leaves, graph.inputs, strict=True)]
    args, kwargs = pytree.tree_unflatten(leaves, pytree.tree_structure((graph.args, graph.kwargs)))
    return replace(graph, args=args, kwargs=kwargs)
