"""What a rule is, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from secateur.graph.axes import Axes
from secateur.graph.calls import describe_call


@dataclass
class TensorAxes:
    """A tensor in the graph: its sizes and one node an axis.

    ``origin`` names the stored tensor that it still is, up to the order of its axes, with the axis of the stored tensor
    for each of its own.
    """

    shape: tuple[int, ...]
    axes: list[int]
    origin: tuple[str, tuple[int, ...]] | None = None


Rule = Callable[["Call"], Any]


RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of the named ATen operators (all overloads)."""
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function
    return register


@dataclass
class Call:
    """One call in the graph as a rule sees it.

    ``args`` holds the arguments by the names of the operator's schema, tensors as :class:`TensorAxes`; ``shapes`` the
    shapes of the outputs. A rule returns the axes of its output as a list of nodes, or one such list an output. It may
    leave ``notes``, the arguments that are sizes of axes (groups), and ``shares``, the axes that a softmax runs along.
    """

    axes: Axes
    node: fx.Node
    name: str
    args: dict[str, Any]
    shapes: list[tuple[int, ...]]
    roles: dict[tuple[str, int], str]
    notes: dict[str, int] = field(default_factory=dict)
    shares: list[tuple[int, str]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The operator and the line of the model's source."""
        return describe_call(self.node)

    @property
    def tensors(self) -> list[TensorAxes]:
        """All tensor arguments, lists opened."""
        return [v for a in self.args.values() for v in (a if isinstance(a, list) else [a]) if isinstance(v, TensorAxes)]

    def __getitem__(self, name: str) -> Any:
        return self.args.get(name)

    def fixed_axis(self, size: int, why: str = "") -> int:
        """A fresh axis of which nothing can be removed."""
        return self.axes.leaf(size, f"{why} at {self.where}" if why else f"made by {self.where}")

    def fix(self, value: TensorAxes, dims: Sequence[int], why: str) -> None:
        """Fix some axes of a tensor."""
        for d in dims:
            self.axes.fix(value.axes[d], f"{why} at {self.where}")

    def fix_all(self, why: str) -> list[list[int]]:
        """Fix all axes that a call takes and gives; returns those that it gives."""
        for value in self.tensors:
            self.fix(value, range(len(value.axes)), why)
        return [[self.fixed_axis(size, why) for size in shape] for shape in self.shapes]

    def tie(self, a: int, b: int) -> None:
        """Tie two nodes."""
        self.axes.tie(a, b)

    def role(self, value: TensorAxes, dim: int, role: str) -> None:
        """Say what a stored tensor's axis does: it produces units (``out``) or consumes them (``in``)."""
        if value.origin:
            name, order = value.origin
            if self.roles.get((name, order[dim % len(order)])) != "out":
                self.roles[name, order[dim % len(order)]] = role
