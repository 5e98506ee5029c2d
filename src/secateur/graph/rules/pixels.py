"""Channels that become space and space that becomes channels: shuffles, windows, patches."""

from __future__ import annotations

from math import prod

from secateur.graph.rules.base import Call, rule


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> list[int]:
    """Channels times a square become space."""
    x, r = call.tensors[0], call["upscale_factor"]
    out = call.axes.leaf(call.shapes[0][-3])
    call.tie(x.axes[-3], call.axes.product([out, call.fixed_axis(r * r)]))
    return [*x.axes[:-3], out, *(call.fixed_axis(s) for s in call.shapes[0][-2:])]


@rule("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> list[int]:
    """Space becomes channels times a square."""
    x, r = call.tensors[0], call["downscale_factor"]
    call.fix(x, [-2, -1], "space")
    channels = call.axes.product([x.axes[-3], call.fixed_axis(r * r)])
    return [*x.axes[:-3], channels, *(call.fixed_axis(s) for s in call.shapes[0][-2:])]


@rule("channel_shuffle")
def channel_shuffle(call: Call) -> list[int]:
    """Groups times channels become channels times groups."""
    x = call.tensors[0]
    groups, channels = call.axes.split(x.axes[1], x.shape[1] // call["groups"])
    call.notes["groups"] = groups
    return [x.axes[0], call.axes.product([channels, groups]), *x.axes[2:]]


@rule("unfold")
def unfold(call: Call) -> list[int]:
    """Windows along one axis fix it."""
    x = call.tensors[0]
    d = call["dimension"] % len(x.axes)
    call.fix(x, [d], "windows along it")
    count, width = call.shapes[0][d], call.shapes[0][-1]
    return [*(call.fixed_axis(count) if i == d else a for i, a in enumerate(x.axes)), call.fixed_axis(width)]


@rule("im2col")
def im2col(call: Call) -> list[int]:
    """Patches: channels times a window."""
    x = call.tensors[0]
    call.fix(x, [-2, -1], "space")
    window = call.fixed_axis(call.shapes[0][-2] // x.shape[-3])
    return [*x.axes[:-3], call.axes.product([x.axes[-3], window]), call.fixed_axis(call.shapes[0][-1])]


@rule("col2im")
def col2im(call: Call) -> list[int]:
    """Patches back to an image."""
    x = call.tensors[0]
    call.fix(x, [-1], "space")
    channels, window = call.axes.split(x.axes[-2], prod(call["kernel_size"]))
    call.axes.fix(window, f"a window at {call.where}")
    return [*x.axes[:-2], channels, *(call.fixed_axis(s) for s in call.shapes[0][-2:])]


@rule("tril", "triu")
def triangle(call: Call) -> list[int]:
    """Positions matter along the last two axes."""
    x = call.tensors[0]
    call.fix(x, [-2, -1], f"{call.name} over it")
    return list(x.axes)


@rule("diagonal", "diag", "diag_embed")
def diagonal(call: Call) -> list[list[int]]:
    """Positions matter along every axis."""
    return call.fix_all(f"{call.name} over it")
