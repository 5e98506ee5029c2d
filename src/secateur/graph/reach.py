"""Which leaves an example reads: a shorter input reads only the first rows of a table of positions."""

from __future__ import annotations

from secateur.graph.calls import base_name
from secateur.graph.flow import Flow

# What these leave out, they have not read.
_PICKS = frozenset({"slice", "narrow", "slice_copy", "split", "split_with_sizes", "chunk", "tensor_split",
                    "unsafe_chunk", "unsafe_split", "split_copy", "getitem"})


def leaves_read(flow: Flow) -> set[int]:
    """The leaves that some call absorbs (its result no longer has them), and those of the outputs.

    The proof says nothing of any other leaf, because the example's outputs do not depend on it.
    """
    read = {leaf for value in flow.outputs for axis in value.axes for leaf in flow.axes.leaves(axis)}
    for node in flow.values:
        if node.op == "call_function" and base_name(node) not in _PICKS:
            read |= {leaf for argument in node.all_input_nodes for leaf in flow.leaves(argument)} - flow.leaves(node)
    return read
