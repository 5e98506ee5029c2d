"""Channels that become space and space that becomes channels: shuffles, windows, patches."""

from __future__ import annotations

from math import prod

from secateur.graph.rules.base import Op, rule


@rule("pixel_shuffle")
def pixel_shuffle(op: Op) -> list[int]:
    """Channels times a square become space."""
    x, r = op.tensors[0], op["upscale_factor"]
    out = op.axes.leaf(op.shapes[0][-3])
    op.tie(x.axes[-3], op.axes.product([out, op.fixed_axis(r * r)]))
    return [*x.axes[:-3], out, *(op.fixed_axis(s) for s in op.shapes[0][-2:])]


@rule("pixel_unshuffle")
def pixel_unshuffle(op: Op) -> list[int]:
    """Space becomes channels times a square."""
    x, r = op.tensors[0], op["downscale_factor"]
    op.fix(x, [-2, -1], "space")
    channels = op.axes.product([x.axes[-3], op.fixed_axis(r * r)])
    return [*x.axes[:-3], channels, *(op.fixed_axis(s) for s in op.shapes[0][-2:])]


@rule("channel_shuffle")
def channel_shuffle(op: Op) -> list[int]:
    """Groups times channels become channels times groups."""
    x = op.tensors[0]
    groups, channels = op.axes.split(x.axes[1], x.shape[1] // op["groups"])
    op.notes["groups"] = groups
    return [x.axes[0], op.axes.product([channels, groups]), *x.axes[2:]]


@rule("unfold")
def unfold(op: Op) -> list[int]:
    """Windows along one axis fix it."""
    x = op.tensors[0]
    d = op["dimension"] % len(x.axes)
    op.fix(x, [d], "windows along it")
    return [*(op.fixed_axis(s) if i == d else a for i, (a, s) in enumerate(zip(x.axes, op.shapes[0], strict=False))),
            op.fixed_axis(op.shapes[0][-1])]


@rule("im2col")
def im2col(op: Op) -> list[int]:
    """Patches: channels times a window."""
    x = op.tensors[0]
    op.fix(x, [-2, -1], "space")
    window = op.fixed_axis(op.shapes[0][-2] // x.shape[-3])
    return [*x.axes[:-3], op.axes.product([x.axes[-3], window]), op.fixed_axis(op.shapes[0][-1])]


@rule("col2im")
def col2im(op: Op) -> list[int]:
    """Patches back to an image."""
    x = op.tensors[0]
    op.fix(x, [-1], "space")
    channels, window = op.axes.split(x.axes[-2], prod(op["kernel_size"]))
    op.axes.fix(window, f"a window at {op.where}")
    return [*x.axes[:-2], channels, *(op.fixed_axis(s) for s in op.shapes[0][-2:])]


@rule("tril", "triu")
def triangle(op: Op) -> list[int]:
    """Positions matter along the last two axes."""
    x = op.tensors[0]
    op.fix(x, [-2, -1], f"{op.name} over it")
    return list(x.axes)


@rule("rot90")
def quarter_turn(op: Op) -> list[int]:
    """Positions matter along the two axes that are turned."""
    x = op.tensors[0]
    gone = [d % len(x.axes) for d in op["dims"]]
    op.fix(x, gone, "turned")
    return [op.fixed_axis(s) if d in gone else a for d, (a, s) in enumerate(zip(x.axes, op.shapes[0], strict=True))]


@rule("diagonal", "diag", "diag_embed")
def positional(op: Op) -> list[int]:
    """Positions matter along every axis that these touch."""
    x = op.tensors[0]
    op.fix(x, range(len(x.axes)), f"{op.name} over it")
    return [op.fixed_axis(s) for s in op.shapes[0]]
