"""A network as a graph of the operators that have rules: everything else in it is decomposed into these."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError
from secateur.core.module_state import evaluating
from secateur.files.native.program import operators
from secateur.files.native.program.rules import RULES
from secateur.graph.calls import base_name
from secateur.graph.capture import FlatGraph, capture, export, quiet
from secateur.graph.cut.graph_module import DROPPED
from secateur.graph.example import inputs


def capture_in_rules(model: nn.Module, example: Any, reach: str) -> FlatGraph:
    """The graph of a network; decomposed where an operator has no rule, and as it is where that does not help.

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: ``torch.export`` refuses it.
    """
    plain = capture(model, example, reach)
    if is_covered(plain):
        return plain
    found = _decompose(model, example, reach)
    return found if found is not None and is_covered(found) else plain


def is_covered(flat: FlatGraph) -> bool:
    """Whether every operator of a graph has a rule, or is arithmetic on sizes."""
    return all(node.op in ("placeholder", "output") or base_name(node) in DROPPED or (
        node.op == "call_function" and (str(node.target) in RULES or operators.is_plain(node.target)))
        for node in flat.nodes)


def _decompose(model: nn.Module, example: Any, reach: str) -> FlatGraph | None:
    """The graph without operators in place, of operators with rules as far as torch knows how; None where it fails."""
    args, kwargs = pytree.tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, inputs(example))
    try:
        with evaluating(model), torch.enable_grad(), quiet():
            program = export(model, args, kwargs, reach).run_decompositions(_table())
        flat = FlatGraph.of(program, args, kwargs)
        _join_batch_norms(flat.module.graph)
        _drop_changes(flat, program)
    except Exception:
        return None
    return flat


def _table() -> Any:
    """The decompositions of torch for all operators but those that have a rule."""
    table = torch.export.default_decompositions()
    for known in [one for one in table if str(one) in RULES]:
        table.pop(known)
    return table


def _join_batch_norms(graph: fx.Graph) -> None:
    """Put the norm that has a rule in the place of the one that torch takes it apart into, which also gives statistics
    that nothing reads.
    """
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._native_batch_norm_legit_no_training.default:
            with graph.inserting_before(node):
                whole = graph.call_function(torch.ops.aten.batch_norm.default, (*node.args[:5], False, *node.args[5:],
                                                                                False))
            for user in [one for one in node.users if one.target is operator.getitem and one.args[1] == 0]:
                user.replace_all_uses_with(whole)
    graph.eliminate_dead_code()


def _drop_changes(flat: FlatGraph, program: ExportedProgram) -> None:
    """Take the changes of inputs and buffers from a graph's outputs.

    Raises:
        UnsupportedError: a buffer that changes decides what the network gives.
    """
    graph, specs = flat.module.graph, program.graph_signature.output_specs
    output = next(node for node in graph.nodes if node.op == "output")
    kept = [one for one, spec in zip(output.args[0], specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
    changed = {spec.target for spec in specs if spec.kind.name == "BUFFER_MUTATION"}
    output.args = (tuple(kept),)
    graph.eliminate_dead_code()
    for node in graph.nodes:
        if node.op == "placeholder" and node.users and flat.sources[str(node.target)] in [
                ("buffer", name) for name in changed]:
            raise UnsupportedError(f"buffer '{node.target}' changes from call to call")
