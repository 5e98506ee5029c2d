"""Norms that a network takes of its own weights over units that may go.

Removing units must be what zeroing them is: a weight's norm goes on to be over all that it was. Where a norm or
another statistic of stored tensors alone ends in a weight, everything on that way is *whole*: the masked reference
takes it at full size, and the axes that it goes over stay, unless the cut can make up for it
(:mod:`secateur.graph.weight_norms`).
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator

from torch import fx, nn

from secateur.graph.calls import base_name, describe_call
from secateur.graph.capture import Captured
from secateur.graph.dims import Place
from secateur.graph.flow import Flow, is_pointwise
from secateur.graph.rules.base import Value
from secateur.graph.weight_norms import tensors_with_norm

STATISTICS = {"norm", "linalg_vector_norm", "sum", "mean", "amax", "amin", "max", "min", "std", "var", "std_mean",
              "var_mean", "prod", "logsumexp", "nansum", "nanmean", "_weight_norm", "_weight_norm_interface",
              "linalg_norm", "batch_norm", "instance_norm", "layer_norm", "rms_norm", "group_norm"}
_VECTORS = {"mv", "dot", "vdot", "matmul", "inner"}
_WEIGHTED = {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "embedding", "mul", "conv1d", "conv2d",
             "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
VIEWS = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "expand", "expand_as",
         "unsqueeze", "squeeze", "clone", "contiguous", "to", "_to_copy", "detach", "alias", "slice", "select",
         "reshape_as", "view_as", "movedim"}


def keep_norms(flow: Flow, model: nn.Module, captured: Collection[Captured]) -> None:
    """Mark what is whole in ``flow.whole``, and fix the axes of norms that a cut cannot make up for."""
    able = {flow.names[name] for name in tensors_with_norm(model) if name in flow.names}
    names: set[str] = set()
    for one in captured:
        still = _stored_alone(one)
        moving = {p.leaf for n in one.graph.graph.nodes if n not in still for p in places(flow, n)}
        for node in (n for n in still if n.op == "call_function" and _takes_norm(flow, n)):
            ends = ways(node, still)
            over = [a for a in gone(flow, node) if any(p.leaf in moving for p in flow.axes.places(a))]
            if not ends or not over:
                continue
            before = _upstream(node)
            flow.whole |= before | ends
            held = {flow.names[what] for kind, what in (one.sources[str(n.target)] for n in before
                    if n.op == "placeholder") if kind in ("parameter", "buffer")}
            names |= held
            for axis in () if held <= able else over:
                flow.axes.fix(axis, f"a norm of the weight goes over it at {describe_call(node)}")
    flow.whole |= {n for one in captured for n in one.graph.graph.nodes if n.op == "placeholder"
                   and flow.names.get(one.sources[str(n.target)][1] if one.sources[str(n.target)][0] in
                                      ("parameter", "buffer") else "") in names}
    flow.whole_names |= names


def _stored_alone(captured: Captured) -> dict[fx.Node, None]:
    """The nodes that are computed from parameters, buffers and constants alone, in order."""
    found: dict[fx.Node, None] = {}
    for node in captured.graph.graph.nodes:
        if node.op == "placeholder":
            alone = captured.sources[str(node.target)][0] != "input"
        else:
            alone = node.op != "output" and all(n in found for n in node.all_input_nodes)
        if alone:
            found[node] = None
    return found


def places(flow: Flow, node: fx.Node) -> Iterator[Place]:
    """Where leaves lie in the axes of what a node gives."""
    given = flow.values.get(node)
    for value in given if isinstance(given, list) else [given]:
        for axis in value.axes if isinstance(value, Value) else ():
            yield from flow.axes.places(axis)


def _takes_norm(flow: Flow, node: fx.Node) -> bool:
    """Whether a call makes a statistic, or the product of a vector with something."""
    name = base_name(node)
    shapes = [v.shape for n in node.all_input_nodes if isinstance(v := flow.values.get(n), Value)]
    return name in STATISTICS or (name in _VECTORS and any(len(s) == 1 for s in shapes))


def gone(flow: Flow, node: fx.Node) -> list[int]:
    """The axes that a statistic goes over: those of its inputs that are not in its result; a norm's all but one."""
    name, made = base_name(node), flow.values.get(node)
    inputs = [v for n in node.all_input_nodes if isinstance(v := flow.values.get(n), Value)]
    if not inputs:
        return []
    if "_weight_norm" in name or ("_norm" in name and name not in ("linalg_vector_norm", "linalg_norm")):
        per_channel = name in ("batch_norm", "instance_norm")
        stays = 1 if per_channel else (node.args[2] if len(node.args) > 2 else 0) if "weight" in name else -2
        if name in ("layer_norm", "rms_norm"):
            return inputs[0].axes[-len(node.args[1]):]  # type: ignore[arg-type]
        return [a for d, a in enumerate(inputs[0].axes) if d != stays]
    left = {flow.axes.find(a) for v in (made if isinstance(made, list) else [made]) if isinstance(v, Value)
            for a in v.axes}
    return [a for v in inputs for a in v.axes if flow.axes.find(a) not in left]


def ways(node: fx.Node, still: Collection[fx.Node]) -> set[fx.Node]:
    """The nodes on the ways from a statistic to where it ends in a weight; none if there is no such way."""
    found: set[fx.Node] = set()

    def ends(at: fx.Node) -> bool:
        some = False
        for user in at.users:
            weight = user not in still and base_name(user) in _WEIGHTED
            onward = user in still and passes(user) and ends(user)
            some = some or weight or onward
        if some:
            found.add(at)
        return some

    ends(node)
    return found


def passes(node: fx.Node) -> bool:
    """Whether a call on stored tensors still gives a weight: point by point, a view, or a further statistic."""
    name = base_name(node)
    return (node.target is operator.getitem or name in VIEWS or name in STATISTICS or name in _VECTORS - {"matmul"}
            or is_pointwise(node.target))


def _upstream(node: fx.Node) -> set[fx.Node]:
    """A node with everything that it is computed from."""
    seen, stack = {node}, [node]
    while stack:
        fresh = [n for n in stack.pop().all_input_nodes if n not in seen]
        seen.update(fresh)
        stack += fresh
    return seen


__all__ = ["keep_norms"]
