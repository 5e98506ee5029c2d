"""Norms that a network takes of its own weights over units that may go.

Removing units must be what zeroing them is: a weight's norm goes on to be over all that it was. Where a norm or
another statistic of stored tensors alone ends in a weight, everything on that way is *whole*: the masked reference
takes it at full size, and the axes that it goes over stay, unless the cut can make up for it
(:mod:`secateur.graph.weight_norms`).
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence

from torch import fx, nn

from secateur.graph.calls import arguments_of, base_name, describe_call, upstream
from secateur.graph.capture import FlatGraph
from secateur.graph.flow import Flow, is_pointwise
from secateur.graph.weight_norms import tensors_with_norm

_STATISTICS = {"norm", "linalg_vector_norm", "sum", "mean", "amax", "amin", "max", "min", "std", "var", "std_mean",
              "var_mean", "prod", "logsumexp", "nansum", "nanmean", "_weight_norm", "_weight_norm_interface",
              "linalg_norm", "batch_norm", "instance_norm", "layer_norm", "rms_norm", "group_norm"}
_VECTORS = {"mv", "dot", "vdot", "matmul", "inner"}
_WEIGHTED = {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "embedding", "mul", "conv1d", "conv2d",
             "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
_VIEWS = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "expand", "expand_as",
          "unsqueeze", "squeeze", "clone", "contiguous", "to", "_to_copy", "detach", "alias", "slice", "select",
          "reshape_as", "view_as", "movedim"}


def fix_norms(flow: Flow, model: nn.Module, graphs: Sequence[FlatGraph]) -> None:
    """Mark what is whole in ``flow.whole``, and fix the axes of norms that a cut cannot make up for."""
    able = {flow.names[name] for name in tensors_with_norm(model) if name in flow.names}
    for one in graphs:
        still = _constant_nodes(one)
        moving = {leaf for n in one.nodes if n not in still for leaf in flow.leaves(n)}
        for node in (n for n in still if n.op == "call_function" and _takes_norm(flow, n)):
            ways = _ways_to_weights(node, still)
            over = [a for a in _reduced_axes(flow, node) if flow.axes.contains_any(a, moving)]
            if not ways or not over:
                continue
            before = upstream(node)
            flow.whole |= before | ways
            tensors = {flow.names[name] for n in before if (name := one.stored_name(n))}
            flow.whole_names |= tensors
            for axis in () if tensors <= able else over:
                flow.axes.fix(axis, f"a norm of the weight is taken over it at {describe_call(node)}")
    flow.whole |= {n for one in graphs for n in one.nodes if flow.names.get(one.stored_name(n)) in flow.whole_names}


def _constant_nodes(graph: FlatGraph) -> dict[fx.Node, None]:
    """The nodes that are computed from parameters, buffers and constants alone, in order."""
    nodes: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            alone = graph.sources[str(node.target)][0] != "input"
        else:
            alone = node.op != "output" and all(n in nodes for n in node.all_input_nodes)
        if alone:
            nodes[node] = None
    return nodes


def _takes_norm(flow: Flow, node: fx.Node) -> bool:
    """Whether a call makes a statistic, or the product of a vector with something."""
    name = base_name(node)
    inputs = flow.tensors(*node.all_input_nodes)
    return name in _STATISTICS or (name in _VECTORS and any(len(v.shape) == 1 for v in inputs))


def _reduced_axes(flow: Flow, node: fx.Node) -> list[int]:
    """The axes that a statistic goes over: those of its inputs that are not in its result; a norm's all but one."""
    name, inputs = base_name(node), flow.tensors(*node.all_input_nodes)
    if not inputs:
        return []
    if name in ("layer_norm", "rms_norm"):
        return inputs[0].axes[-len(node.args[1]):]  # type: ignore[arg-type]
    if "_norm" in name and name not in ("linalg_vector_norm", "linalg_norm"):
        stays = {"batch_norm": 1, "instance_norm": 1, "group_norm": -1}.get(name, arguments_of(node).get("dim"))
        return [a for d, a in enumerate(inputs[0].axes) if d != stays]
    left = {flow.axes.find(a) for v in flow.tensors(node) for a in v.axes}
    return [a for v in inputs for a in v.axes if flow.axes.find(a) not in left]


def _ways_to_weights(node: fx.Node, still: Collection[fx.Node]) -> set[fx.Node]:
    """The nodes on the ways from a statistic to where it ends in a weight; none if there is no such way."""
    nodes: set[fx.Node] = set()

    def ends(at: fx.Node) -> bool:
        some = False
        for user in at.users:
            weight = user not in still and base_name(user) in _WEIGHTED
            onward = user in still and _passes(user) and ends(user)
            some = some or weight or onward
        if some:
            nodes.add(at)
        return some

    ends(node)
    return nodes


def _passes(node: fx.Node) -> bool:
    """Whether a call on stored tensors still gives a weight: point by point, a view, or a further statistic."""
    name = base_name(node)
    return (node.target is operator.getitem or name in _VIEWS or name in _STATISTICS or name in _VECTORS - {"matmul"}
            or is_pointwise(node.target))
