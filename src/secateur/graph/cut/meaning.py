"""Whether the name of an attribute speaks of an axis that a cut makes smaller, or its number is the same by chance."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from secateur.core.types import Cut
from secateur.graph.cut.sizes import Sizes, module_of
from secateur.graph.proof.oracles import Trace

_HEADS = re.compile("head|kv")
_WIDTHS = re.compile("hidden|intermediate|inner|emb|d_model|d_ff|ffn|mlp|channel|plane|filter|feature|unit|width")
_WORDS = {"head": _HEADS, "kv-group": _HEADS}


class Meanings:
    """Which sizes of axes change, and which stay, in the calls of each module and of the modules inside it."""

    def __init__(self, trace: Trace, sizes: Sizes, cuts: Sequence[Cut]):
        self._trace, self._sizes = trace, sizes
        self._units = {trace.leaf_of[cut.name]: cut.group.unit for cut in cuts if cut.group}

    def is_clear(self, path: str, key: str, value: Any) -> bool:
        """Whether a size that a module remembers can mean the cut axis alone: no other axis of this size stays in its
        calls, or the name says what is cut (``num_heads``, ``hidden_size``)."""
        values = value if isinstance(value, Iterable) else [value]
        units = {unit for size in values for unit in self._units_of[path][size]}
        return "" not in units or any(_WORDS.get(unit, _WIDTHS).search(key) for unit in units - {""})

    @cached_property
    def _units_of(self) -> dict[str, dict[int, set[str]]]:
        """For each module and size, what the axes of this size consist of that change, and "" where one stays."""
        found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for node in (n for graph in self._trace.graphs for n in graph.nodes if n.op == "call_function"):
            axes = {axis for value in self._sizes.flow.tensors(node, *node.all_input_nodes) for axis in value.axes}
            for path in _with_parents(module_of(node)):
                for axis in axes:
                    found[path][self._sizes.flow.axes.sizes[axis]] |= self._units_in(axis)
        return found

    def _units_in(self, axis: int) -> set[str]:
        if self._sizes.of(axis) == self._sizes.flow.axes.sizes[axis]:
            return {""}
        return {self._units[leaf] for leaf in self._sizes.flow.axes.leaves(axis) if leaf in self._units}


def _with_parents(path: str) -> list[str]:
    """A module's path and those of the modules around it.

    >>> _with_parents("a.b")
    ['a.b', 'a', '']
    """
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
