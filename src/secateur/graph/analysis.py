"""From a network's graphs to its structure."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from secateur.core.types import Structure
from secateur.graph.capture import FlatGraph
from secateur.graph.flow import follow, tied_names
from secateur.graph.groups import find_groups, find_output_layers, find_outputs
from secateur.graph.norm_axes import fix_norms
from secateur.graph.proof.oracles import Trace
from secateur.graph.targets import targets


def analyse(model: nn.Module, graphs: Sequence[FlatGraph], inner: bool = False) -> Structure:
    """The structure of a network from its graphs, one an example; ``inner`` as in :func:`secateur.graph.trace`."""
    flow = follow(model, graphs)
    fix_norms(flow, model, graphs)
    groups, leaf_of = find_groups(model, flow, inner)
    output_layers, notes = find_output_layers(flow)
    examples = [g.kwargs or g.args for g in graphs]
    return Structure(targets(model), tuple(groups), find_outputs(flow), Trace(tuple(graphs), flow, leaf_of),
                     examples if len(examples) > 1 else examples[0], tied_names(model),
                     tuple(f"{name} ({line})" for name, line in flow.unknown.items()), output_layers, notes)
