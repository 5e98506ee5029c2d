"""Makes the program of a segment for a width of tile: chooses kernels, places values, packs weights.

``build_tiles`` builds the steps for values without planes, ``build_planes`` those for images.
"""

from __future__ import annotations

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.transpose import Tile
from secateur.runtime.ops import Op, Segment
from secateur.runtime.packing.layout import has_planes
from secateur.runtime.schedule.build_planes import PlaneBuilder
from secateur.runtime.schedule.build_tiles import Builder, Chooser
from secateur.runtime.schedule.program import TileProgram


def _tile(width: int, isa: Isa) -> Tile:
    """The tile of a width: how many registers of how many lanes.

    >>> from secateur.runtime.codegen.isa import ISAS
    >>> _tile(64, ISAS["avx512"]), _tile(8, ISAS["avx512"])
    (Tile(lanes=16, tiles=4), Tile(lanes=8, tiles=1))
    """
    lanes = min(width, isa.lanes)
    return Tile(lanes, width // lanes)


def widths(isa: Isa, segment: Segment) -> tuple[int, ...]:
    """The widths of tile, in rows of the batch, that programs of a segment are made for.

    Values as planes take one register, or one image where every convolution has a kernel for it.
    """
    if has_planes(segment):
        return tuple(sorted({*([1] if all(map(_takes_one_image, segment.ops)) else []), min(8, isa.lanes), isa.lanes}))
    return (1, *sorted({8, isa.lanes, 2 * isa.lanes, 4 * isa.lanes}))


def _takes_one_image(op: Op) -> bool:
    """Whether an operator can run on a tile of one image."""
    return op.kind != "conv" or op.settings["stride"][1] <= 2


def build(segment: Segment, width: int, isa: Isa, choose: Chooser, parts: int = 1) -> TileProgram:
    """The program of a segment for one width."""
    kind = PlaneBuilder if has_planes(segment) else Builder
    builder = kind(segment, _tile(width, isa), isa, choose, parts)
    return TileProgram(segment, width, builder.steps(), builder.end, isa)
