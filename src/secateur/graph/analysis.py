"""From a captured graph to a structure."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from secateur.core.types import Structure
from secateur.graph import flow, groups
from secateur.graph.capture import Captured
from secateur.graph.norm_axes import keep_norms
from secateur.graph.proof.oracles import Trace
from secateur.graph.targets import targets


def analyse(model: nn.Module, captured: Captured, inner: bool = False, more: Sequence[Captured] = ()) -> Structure:
    """The structure of a network whose graph was captured; ``more`` holds its graphs for further examples."""
    found = flow.follow(model, captured, *more)
    keep_norms(found, model, (captured, *more))
    examples = [c.kwargs or c.args for c in (captured, *more)]
    made, leaf_of = groups.groups(model, found, inner)
    return Structure(targets(model), tuple(made), groups.outputs(found), Trace(captured, found, leaf_of, tuple(more)),
                     examples if more else examples[0], flow.tied_names(model),
                     tuple(f"{name} ({line})" for name, line in found.unknown.items()), *groups.output_layers(found))
