"""A network as a graph of torch operators, with the batch, and lengths of sequences, left open."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.core.errors import SecateurError, UnsupportedError, readable
from secateur.core.modules import at
from secateur.core.pytree import repeat
from secateur.graph.capture import export, reaches, sizes_of, widest
from secateur.runtime.frontend.node import same

VIEWS = {torch.ops.aten.dropout.default, torch.ops.aten.contiguous.default}
"""Operators that may return what they are given, beside those that torch says do."""


@dataclass(frozen=True, eq=False)
class Exported:
    """The graph, the sizes of its inputs (numbers, or symbols by name), bounds of the symbols, torch's guards.

    ``network`` is the copy that was exported, with the same weights: what runs where the graph does not hold.
    """

    network: nn.Module
    module: fx.GraphModule
    sizes: tuple[tuple[Any, ...], ...]
    bounds: dict[str, tuple[int, int]]
    guards: Any
    dynamic: bool

    def takes(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the graph holds for inputs of these sizes."""
        found: dict[str, int] = {}
        for x, sizes in zip(inputs, self.sizes, strict=True):
            for got, size in zip(x.shape, sizes, strict=True):
                if (got != size) if isinstance(size, int) else found.setdefault(size, got) != got:
                    return False
        inside = all(low <= found[s] <= high for s, (low, high) in self.bounds.items() if s in found)
        return inside and self._guarded(inputs)

    def _guarded(self, inputs: Sequence[Tensor]) -> bool:
        try:
            self.guards(*inputs)
        except Exception:
            return False
        return True


def export_graph(model: nn.Module, inputs: tuple[Tensor, ...], sequences: bool) -> Exported:
    """The exported graph, with as much left open as the network allows.

    Args:
        model: the network.
        inputs: the example.
        sequences: try to leave open the lengths of sequences beside the batch.

    Raises:
        UnsupportedError: torch cannot export the network; the message gives its reason.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    tried = [reach for reach in reaches(inputs) if sequences or reach != "length"]
    try:
        with torch.no_grad():
            return widest(lambda reach: _export(model, inputs, reach), tried, Exception)[0]
    except SecateurError:
        raise
    except Exception as error:
        raise UnsupportedError(f"{type(model).__name__} cannot be exported as a graph: {readable(error)}"
                               ) from error


def _export(model: nn.Module, inputs: tuple[Tensor, ...], reach: str) -> Exported:
    if not reach:
        return _without_guards(model, export(model, inputs, {}), False)
    if any(x.ndim < 1 or x.shape[0] != inputs[0].shape[0] for x in inputs):
        raise UnsupportedError("inputs have no common batch axis")
    # torch fixes an axis of size 1, and code that asks for a size of 2 would fix the rows by accident.
    wide = tuple(repeat(x, 3) if 0 < x.shape[0] < 3 else x for x in inputs)
    found = _without_guards(model, export(model, wide, {}, reach), True)
    if not isinstance(_batch_of(found.module), torch.SymInt):  # type: ignore[arg-type]
        raise UnsupportedError("the network has a fixed batch size")
    return found


def _without_guards(model: nn.Module, program: Any, dynamic: bool) -> Exported:
    """The program as a graph without guards, writes in place, and sizes read in many places."""
    module = program.module()
    if any(_writes_shared(node) for node in module.graph.nodes):
        module = program.run_decompositions({}).module()
    inputs = [n for n in module.graph.nodes if n.op == "placeholder"]
    sizes = tuple(sizes_of(n.meta["val"]) for n in inputs)
    bounds = {str(s): (int(r.lower) if int(r.lower) > 3 else 0, int(r.upper) if r.upper.is_Integer else 1 << 62)
              for s, r in program.range_constraints.items()}
    guards = getattr(module, "_guards_fn", lambda *_: None)
    _hoist_sizes(module, inputs)
    _fold(module)
    return Exported(model, module, sizes, bounds, guards, dynamic)


def _fold(module: fx.GraphModule) -> None:
    """Compute now what depends on fixed tensors alone, such as a weight times its mask; not what is written over in
    place, which every call needs anew."""
    for node in list(module.graph.nodes):
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or any(s.op != "get_attr" for s in sources) or _restless(node):
            continue
        if any(_restless(user) and user.args and user.args[0] is node for user in node.users):
            continue
        args, keywords = fx.map_arg((node.args, node.kwargs), lambda n: at(module, str(n.target)))
        with torch.no_grad():
            value = node.target(*args, **keywords)
        if isinstance(value, Tensor):
            name = f"_fixed_{node.name}"
            module.register_buffer(name, value.clone())
            with module.graph.inserting_before(node):
                fixed = module.graph.get_attr(name)
            fixed.meta = dict(node.meta)
            node.replace_all_uses_with(fixed)
            module.graph.erase_node(node)


def _restless(node: fx.Node) -> bool:
    """Whether an operator writes in place or is random."""
    schema = getattr(node.target, "_schema", None)
    return schema is None or schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]


def _writes_shared(node: fx.Node) -> bool:
    """Whether a node writes in place what another node may read under another name."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    written = node.args[0]
    return len(written.users) > 1 or written.op != "call_function" or _is_view(written)


def _is_view(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None or node.target in VIEWS:
        return True
    return not schema.is_mutable and any(r.alias_info is not None for r in schema.returns)


def _batch_of(module: fx.GraphModule) -> Any:
    """The size of the first input's first axis: a symbol, or a number."""
    first = next(n for n in module.graph.nodes if n.op == "placeholder")
    shape = first.meta["val"].shape
    return shape[0] if len(shape) else None


def _hoist_sizes(module: fx.GraphModule, inputs: Sequence[fx.Node]) -> None:
    """Read open sizes from the inputs, wherever the graph reads them; drop guards and what nobody uses."""
    nodes, made = list(module.graph.nodes), list[fx.Node]()
    with module.graph.inserting_after(inputs[-1]):
        for node in inputs:
            for axis, size in enumerate(node.meta["val"].shape):
                if isinstance(size, torch.SymInt) and not any(same(n.meta["val"], size) for n in made):
                    made.append(module.graph.call_function(torch.ops.aten.sym_size.int, (node, axis)))
                    made[-1].meta["val"] = size
    for node in nodes:
        if node.op == "call_module" and "guard" in str(node.target):
            module.graph.erase_node(node)
        elif node.target is torch.ops.aten.sym_size.int:
            found = [n for n in made if same(n.meta["val"], node.meta.get("val"))]
            if found:
                node.replace_all_uses_with(found[0])
    module.graph.eliminate_dead_code()
