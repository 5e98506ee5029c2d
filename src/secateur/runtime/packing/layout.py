"""Decides how values lie as planes, with a border or without, and adds operators that pad where none can."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateur.runtime.ops import Op, Segment, Value

_PADDABLE = {"conv", "pool", "act", "add", "sub", "mul", "div", "affine"}
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
    if len(value.shape) == 2:
        return Layout(value.shape[0], 1, value.shape[1], pad)
    planes, rows, columns = (*value.shape, 1, 1)[:3] if len(value.shape) <= 3 else (value.size, 1, 1)
    return Layout(planes, rows, columns, pad)


def has_planes(segment: Segment) -> bool:
    """Whether an operator of a segment works on planes, so that all values lie as planes."""
    return any(op.kind in ("conv", "pool", "concat") or len({v.size for v in op.inputs}) > 1 for op in segment.ops)


def arrange(segment: Segment) -> tuple[Segment, dict[Value, Layout]]:
    """The segment with the operators that pad where these are needed, and the layout of every value.

    A convolution reads its input with a border of zeros. Whoever makes the input writes the border where it can; where
    readers want different borders, or the input comes from outside, a copy is padded.
    """
    readers: dict[Value, list[Op]] = {}
    for op in segment.ops:
        for value in op.inputs:
            readers.setdefault(value, []).append(op)
    makers = {op.output: op for op in segment.ops}
    layouts = {v: layout_of(v) for v in segment.inputs}
    ops: list[Op] = []
    fresh = 1 + max([v.id for v in [*segment.inputs, *makers]])
    padded: dict[tuple[Value, tuple[int, int]], Value] = {}
    for op in segment.ops:
        pad = _border(op.output, readers, makers, segment)
        layouts[op.output] = layout_of(op.output, pad)
        need = op.settings.get("padding", (0, 0)) if op.kind == "conv" else (0, 0)
        source = op.inputs[0]
        if op.kind == "conv" and layouts[source].pad != need:
            if (source, need) not in padded:
                padded[source, need] = copy = Value(fresh, source.shape)
                fresh += 1
                layouts[copy] = layout_of(copy, need)
                ops.append(Op("act", op.name, (source,), copy))
            op = replace(op, inputs=(padded[source, need],))
        ops.append(op)
    return Segment(segment.inputs, tuple(ops), segment.outputs), layouts


def _border(value: Value, readers: dict[Value, list[Op]], makers: dict[Value, Op], segment: Segment) -> tuple[int, int]:
    """The border that a value is written with: that of its convolutions where all want the same and all readers can."""
    users = readers.get(value, [])
    wishes = {tuple(op.settings["padding"]) for op in users if op.kind == "conv"}
    if len(wishes) != 1 or value in segment.outputs or makers[value].kind not in _PADDABLE:
        return (0, 0)
    if any(op.kind not in _PADDABLE for op in users):
        return (0, 0)
    return wishes.pop()  # type: ignore[return-value]
