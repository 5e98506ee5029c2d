"""The slow, obvious twin of every kernel: the same words, streams and arenas, read by numpy.

``run`` does what the compiled driver does, tile by tile and step by step; ``STEPS`` has one function
a kernel. Nothing here is fast, and nothing here shares code with the generators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from secateur.runtime.codegen.kernels.conv import Conv
from secateur.runtime.codegen.kernels.gather import Gather
from secateur.runtime.codegen.kernels.image import ImageConv, ImagePool
from secateur.runtime.codegen.kernels.permute import Permute
from secateur.runtime.codegen.kernels.planes import Border, Planes, Pool
from secateur.runtime.codegen.kernels.pointwise import Pointwise
from secateur.runtime.codegen.kernels.rows import LayerNorm, Softmax
from secateur.runtime.codegen.kernels.scale import Scale
from secateur.runtime.codegen.kernels.spmm import Spmm
from secateur.runtime.codegen.kernels.transpose import Enter, Leave
from secateur.runtime.reference.elementwise import ACTIVATIONS, activate, pointwise
from secateur.runtime.reference.images import border, convolution, planes, pool
from secateur.runtime.reference.products import permute, product
from secateur.runtime.reference.rows import norm, scale, softmax
from secateur.runtime.reference.tiles import Bytes, Floats, enter, leave, view
from secateur.runtime.schedule.program import KernelStep, TileProgram

__all__ = ["ACTIVATIONS", "STEPS", "activate", "run"]

STEPS: dict[type, Callable[[KernelStep, Bytes, Sequence[Floats], int, int], None]] = {
    Enter: enter, Leave: leave, Spmm: product, Gather: product, Permute: permute, Pointwise: pointwise,
    Conv: convolution, ImageConv: convolution, ImagePool: pool, Planes: planes, Border: border, Pool: pool,
    Scale: scale, LayerNorm: norm, Softmax: softmax,
}


def run(program: TileProgram, arrays: Sequence[Floats], rows: int) -> bool:
    """Run a program on batch-first arrays, inputs then outputs; returns whether a value was NaN or infinite."""
    arena = np.zeros(program.arena_bytes, np.uint8)
    for first in range(0, rows, program.width):
        for step in program.steps:
            with np.errstate(all="ignore"):
                STEPS[type(step.spec)](step, arena, arrays, first, min(program.width, rows - first))
    return bool(np.isnan(view(arena, 0, 16)).any())
