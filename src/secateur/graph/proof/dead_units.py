"""Which groups the outputs feel at all: the proofs say nothing of units behind a gate that is closed.

While the graph runs once in float64, every call is made again with one of its inputs moved a little: where
the result stays as it is to the last bit, nothing passes there. Groups that reach the outputs only through
such places are masked by themselves; where the outputs do not change, the group stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.core.errors import UnsupportedError
from secateur.core.tensors import tensors_in
from secateur.core.types import Group, Structure
from secateur.graph.calls import base_name, upstream
from secateur.graph.proof import reference
from secateur.graph.proof.float64 import CONVOLUTIONS
from secateur.graph.proof.oracles import Trace, distance, masked_outputs

UNFELT = ("the outputs do not depend on it for this example (a closed gate, a branch not taken): pass an example, or "
          "a network in a state, for which they do")
_PRODUCTS = CONVOLUTIONS | {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"}
_OPEN = {"embedding", "cat", "stack", "lstm", "gru", "rnn_tanh", "rnn_relu"}


def with_unfelt(model: nn.Module, structure: Structure) -> Structure:
    """The structure with the groups that the outputs do not feel as ones that stay.

    It is as it was where the graph does not run in float64: then nothing can be proved of it anyway.
    """
    trace: Trace = structure.trace
    try:
        doubtful = _suspects(model, trace, [g for g in structure.groups if g.cuttable])
    except UnsupportedError:
        return structure
    if not doubtful:
        return structure
    whole = trace.outputs(model, trace.perturb)
    stay = {g.name for g in doubtful if not _feels(model, trace, trace.leaf_of[g.name], whole)}
    return replace(structure, groups=tuple(replace(g, reason=UNFELT) if g.name in stay else g
                                           for g in structure.groups))


def _feels(model: nn.Module, trace: Trace, leaf: int, whole: list[Tensor]) -> bool:
    """Whether the outputs change when one half or the other of a leaf's units is masked.

    Halves, since a cut never removes all units.
    """
    first = torch.arange(trace.flow.axes.sizes[leaf]) % 2 == 0
    return any(distance(masked_outputs(model, trace, {leaf: keep}), whole) > 0 for keep in (first, ~first))


def _suspects(model: nn.Module, trace: Trace, groups: Iterable[Group]) -> list[Group]:
    """The groups of which something lies in values that reach the outputs through closed places only."""
    leaves: set[int] = set()
    for one in trace.graphs:
        probe = _Probe()
        reference.everything(model, one, trace.flow, trace.perturb, probe.call)
        end = next(n for n in one.nodes if n.op == "output")
        for node in upstream(end) - upstream(end, probe.dead):
            leaves |= trace.flow.leaves(node)
    return [g for g in groups if trace.leaf_of[g.name] in leaves]


class _Probe:
    """Calls operators, and notes the edges ``(source, node)`` through which nothing passes."""

    def __init__(self) -> None:
        self.dead: set[tuple[fx.Node, fx.Node]] = set()
        self.noise = torch.Generator().manual_seed(0)

    def call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one operator, once as it is and once for each input that may not matter."""
        inputs = dict(_pairs((node.args, node.kwargs), (args, kwargs)))
        schema = getattr(node.target, "_schema", None)
        before = _clone(inputs) if schema is not None and _writes(node) else inputs
        result = reference.plain(node, args, kwargs)
        sources = [n for n, v in inputs.items() if isinstance(v, Tensor) and v.is_floating_point()] if schema else []
        name = base_name(node).rstrip("_")
        if name in _PRODUCTS:
            self.dead |= {(s, node) for s in sources if not _is_multiplied(s, inputs)}
        elif name not in _OPEN and not _passes_on(schema):
            self.dead |= {(s, node) for s in sources if not self.moves(node, before, s, result)}
        return result

    def moves(self, node: fx.Node, inputs: dict[fx.Node, Any], source: fx.Node, result: Any) -> bool:
        """Whether moving one input moves the result."""
        # Zeros move too, by a share of the mean. A thousandth is far above rounding, yet leaves an open gate open.
        value = inputs[source]
        draw = torch.rand(value.shape, generator=self.noise, dtype=value.dtype).to(value.device) + 0.5
        moved = _clone(inputs) if _writes(node) else dict(inputs)
        moved[source] = value + 1e-3 * draw * (value.abs() + value.abs().nan_to_num(0, 0, 0).mean() + 1e-6)
        again = tensors_in(reference.plain(node, *reference.arguments(node, moved)))
        return any(not torch.equal(a, b) for a, b in zip(again, tensors_in(result), strict=True))


def _clone(inputs: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
    """The same values in memory of their own."""
    return {n: v.clone() if isinstance(v, Tensor) else v for n, v in inputs.items()}


def _writes(node: fx.Node) -> bool:
    """Whether a call changes one of its inputs."""
    return bool(node.target._schema.is_mutable)  # type: ignore[union-attr]


def _is_multiplied(source: fx.Node, inputs: dict[fx.Node, Any]) -> bool:
    """Whether what a factor is multiplied with is anywhere other than zero; what is only added always matters."""
    factors = {n: v for n, v in inputs.items() if isinstance(v, Tensor) and v.ndim > 1}
    return source not in factors or all(bool(v.any()) for n, v in factors.items() if n is not source)


def _passes_on(schema: Any) -> bool:
    """Whether an operator gives a view of its input."""
    return schema is None or any(a.alias_info is not None and not a.alias_info.is_write for a in schema.arguments)


def _pairs(nodes: Any, values: Any) -> Iterator[tuple[fx.Node, Any]]:
    """Every node among the arguments of a call with what it stands for."""
    if isinstance(nodes, fx.Node):
        yield nodes, values
    elif isinstance(nodes, dict):
        for key in nodes:
            yield from _pairs(nodes[key], values[key])
    elif isinstance(nodes, (list, tuple)):
        for one, value in zip(nodes, values, strict=True):
            yield from _pairs(one, value)

