"""Where values lie: plain or padded, and the extra operators that pad what cannot be made padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.runtime.ops import Op, Segment, Value

PADDABLE = {"conv", "pool", "act", "add", "sub", "mul", "div", "affine"}
"""Kinds whose output can be written with a border."""


@dataclass(frozen=True)
class Layout:
    """A value as planes: ``planes`` of ``rows`` by ``columns``, with a border of ``pad`` on each side."""

    planes: int
    rows: int
    columns: int
    pad: tuple[int, int] = (0, 0)

    @property
    def line(self) -> int:
        """Positions from one row to the next."""
        return self.columns + 2 * self.pad[1]

    @property
    def plane(self) -> int:
        """Positions of a plane, its border included."""
        return (self.rows + 2 * self.pad[0]) * self.line

    @property
    def origin(self) -> int:
        """The position of the first value inside the border."""
        return self.pad[0] * self.line + self.pad[1]


def layout_of(value: Value, pad: tuple[int, int] = (0, 0)) -> Layout:
    """A value as planes; fewer than three axes make planes of one row.

    >>> layout_of(Value(0, (3, 5, 7)), (1, 1)).plane, layout_of(Value(1, (9,))).planes
    (63, 9)
    """
    shape = (*value.shape, 1, 1)[:3] if len(value.shape) < 3 else value.shape
    if len(value.shape) == 2:
        shape = (value.shape[0], 1, value.shape[1])
    if len(shape) > 3:
        shape = (value.size, 1, 1)
    return Layout(shape[0], shape[1], shape[2], pad)


def has_planes(segment: Segment) -> bool:
    """Whether a segment needs values as planes."""
    return any(op.kind in ("conv", "pool", "concat") or len({v.size for v in op.inputs}) > 1 for op in segment.ops)


def arrange(segment: Segment) -> tuple[Segment, dict[Value, Layout]]:
    """The segment with padding operators where they are needed, and the layout of every value."""
    readers = _readers(segment.ops)
    makers = {op.output: op for op in segment.ops}
    layouts = {v: layout_of(v) for v in segment.inputs}
    ops: list[Op] = []
    fresh = 1 + max([v.id for v in [*segment.inputs, *makers]])
    padded: dict[tuple[Value, tuple[int, int]], Value] = {}
    for op in segment.ops:
        pad = _wanted(op.output, readers, makers, segment)
        layouts[op.output] = layout_of(op.output, pad)
        need = op.settings.get("padding", (0, 0)) if op.kind == "conv" else (0, 0)
        source = op.inputs[0]
        if op.kind == "conv" and layouts[source].pad != need:
            if (source, need) not in padded:
                padded[source, need] = copy = Value(fresh, source.shape)
                fresh += 1
                layouts[copy] = layout_of(copy, need)
                ops.append(Op("act", op.name, (source,), copy))
            op = Op("conv", op.name, (padded[source, need],), op.output, op.weight, op.bias, op.act, op.settings)
        ops.append(op)
    return Segment(segment.inputs, tuple(ops), segment.outputs), layouts


def _readers(ops: Sequence[Op]) -> dict[Value, list[Op]]:
    readers: dict[Value, list[Op]] = {}
    for op in ops:
        for value in op.inputs:
            readers.setdefault(value, []).append(op)
    return readers


def _wanted(value: Value, readers: dict[Value, list[Op]], makers: dict[Value, Op], segment: Segment) -> tuple[int, int]:
    """The border that a value is written with: what its convolutions want, if all want the same and others can."""
    users = readers.get(value, [])
    wishes = {tuple(op.settings["padding"]) for op in users if op.kind == "conv"}
    if len(wishes) != 1 or value in segment.outputs or makers[value].kind not in PADDABLE:
        return (0, 0)
    if any(op.kind not in PADDABLE for op in users):
        return (0, 0)
    return wishes.pop()  # type: ignore[return-value]
