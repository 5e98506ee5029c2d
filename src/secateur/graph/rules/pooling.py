"""Pooling, interpolation, sampling: space changes, channels stay."""

from __future__ import annotations

from secateur.graph.rules.base import Call, rule
from secateur.graph.rules.convolution import space


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
      "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
      "max_pool2d_with_indices", "_adaptive_avg_pool2d", "upsample_nearest1d", "upsample_nearest2d",
      "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
      "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
      "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "lp_pool2d",
      "replication_pad3d", "max_pool1d_with_indices", "max_pool3d_with_indices")
def pooling(call: Call) -> list[list[int]]:
    """Space changes, channels stay."""
    x = call.tensors[0]
    first = len(x.axes) - next(n for n in (1, 2, 3) if f"{n}d" in call.name)
    return [[*x.axes[:first], *space(call, x, shape, first)] for shape in call.shapes]


@rule("max_unpool2d", "max_unpool3d")
def unpooling(call: Call) -> list[int]:
    """Values put back where a pooling took them: space changes, channels stay."""
    x, places = call.tensors[:2]
    first = len(x.axes) - int(call.name[-2])
    for a, b in zip(x.axes[:first], places.axes, strict=False):
        call.tie(a, b)
    return [*x.axes[:first], *space(call, x, call.shapes[0], first)]


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sample(call: Call) -> list[int]:
    """Sampled at points: channels stay."""
    x, grid = call["input"], call["grid"]
    call.fix(grid, range(len(grid.axes)), "points")
    return [x.axes[0], x.axes[1], *space(call, x, call.shapes[0], 2)]
