"""The kernels that can run a sparse product or convolution, the likeliest to be fastest first."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.conv import Conv
from secateur.runtime.codegen.kernels.gather import Gather
from secateur.runtime.codegen.kernels.image import ImageConv
from secateur.runtime.codegen.kernels.permute import Permute
from secateur.runtime.codegen.kernels.spmm import Spmm
from secateur.runtime.ops import Op
from secateur.runtime.packing.layout import Layout
from secateur.runtime.packing.pack import Csr, Packed, Places, pack
from secateur.runtime.packing.pack_permute import pack_permute

MAX_COLUMNS = 65534
"""Columns have 16 bits, and the row of zeros behind the tile needs one."""


@dataclass(frozen=True)
class Candidate:
    """A kernel, how many columns a block of its packed weights has, and why others were not taken instead."""

    spec: Spmm | Gather | Permute | Conv | ImageConv
    block: int
    rest: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)

    def pack(self, weight: Csr, parts: int = 1, places: Places | None = None) -> Packed:
        """A weight packed for the kernel, in ``parts`` ranges of rows."""
        if isinstance(self.spec, Permute):
            return pack_permute(weight, self.spec, parts)
        return pack(weight, self.spec, self.block, parts, places)

    def __str__(self) -> str:
        spec = self.spec
        if isinstance(spec, Gather):
            return f"gather {spec.lanes} rows"
        if isinstance(spec, Permute):
            return f"permute {spec.rows} rows, chunks that at least {spec.min_filled} fill"
        columns = "grouped columns" if spec.grouped else "lone columns"
        if isinstance(spec, ImageConv):
            text = (f"convolution of one image, {columns}, {spec.rows} channels x {spec.down} rows x "
                    f"{spec.across * spec.lanes} columns")
        elif isinstance(spec, Conv):
            text = (f"convolution, {columns}, {spec.rows} channels x {spec.tiles} positions x {spec.lanes} batch")
        else:
            text = f"{columns}, {spec.rows} rows x {spec.width} batch"
        return f"{text}, blocks of {self.block}"


@functools.cache
def _first_cache() -> int:
    """Bytes of the first data cache; 32 KiB where the system does not say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index0/size").read_text().strip()
        return int(text.removesuffix("K")) * 1024
    except (OSError, ValueError):
        return 32 * 1024


def candidates(op: Op, lanes: int, tiles: int, isa: Isa) -> list[Candidate]:
    """The kernels for one product and shape of tile; empty where none fits.

    The order is that of the measured regimes. Up to about 60 % sparsity common columns were fastest, above it lone
    columns in blocks whose inputs stay in the first cache. At 98 % lone columns were fastest without blocks: a block
    then has too few non-zeros for what it costs to begin one.
    """
    assert op.weight is not None
    columns = op.weight.shape[1]
    if columns > MAX_COLUMNS:
        return []
    bias, sparsity = op.bias is not None, op.sparsity or 0.0
    if lanes * tiles == 1:
        permute = [Candidate(Permute(bias, op.act, half=op.half), columns)] if isa.name == "avx512" else []
        return [*permute, Candidate(Gather(isa.lanes, bias, op.act, half=op.half), columns)]
    grouped = [c for c in _products(lanes, tiles, op, isa, True) if c.spec.rows in (2, 4)]
    lone = _products(lanes, tiles, op, isa, False)
    if sparsity < 0.4:
        return grouped or lone
    if sparsity <= 0.75 and grouped:
        return [*grouped, *lone] if sparsity < 0.6 else [*lone, *grouped]
    return lone[::-1] if sparsity > 0.965 else lone


def _products(lanes: int, tiles: int, op: Op, isa: Isa, grouped: bool) -> list[Candidate]:
    """Products of a tile, with common columns or lone ones: in blocks that fit the first cache, and without blocks."""
    assert op.weight is not None
    columns = op.weight.shape[1]
    # Register blocking: half of the registers hold sums, ``rows`` times ``tiles`` of them.
    rows = max(2, min(8, isa.registers // 2 // tiles))
    rows = 4 if tiles == 2 or (grouped and rows > 4) else rows
    row_bytes = lanes * tiles * 4
    # x86 multiplies an index by 8 in the address itself, so narrow tiles keep their offsets as multiples of 8 bytes,
    # as long as these fit into 16 bits.
    unit = 8 if tiles == 1 and (columns + 1) * row_bytes // 8 <= 0xFFFF else row_bytes
    permute = isa.name == "avx512" and not grouped and lanes >= 8
    spec = Spmm(lanes=lanes, tiles=tiles, rows=rows, grouped=grouped, unit=unit, bias=op.bias is not None, act=op.act,
                permute=permute, half=op.half)
    near = max(8, int(_first_cache() * 0.75) // row_bytes)
    return [Candidate(spec, block) for block in dict.fromkeys(min(columns, block) for block in (near, columns))]


def conv_candidates(op: Op, lanes: int, columns: int, plane: int, isa: Isa) -> list[Candidate]:
    """The kernels for one convolution with ``columns`` positions in a row of its output."""
    out, channels, height, width = _sizes(op)
    stride, found = op.settings["stride"][1], []
    for tiles in _neighbours(columns):
        reach = (tiles - 1) * stride + (width - 1) * op.settings["dilation"][1] + 1
        near, most = _near_channels(height * reach * lanes * 4), max(1, MAX_COLUMNS // plane)
        # Four registers stay free beside the sums.
        rows = max(1, min(4, (isa.registers - 4) // tiles, out))
        for grouped in _groupings(op, rows):
            spec = Conv(lanes=lanes, tiles=tiles, rows=rows, grouped=grouped, stride=stride, tail=columns % tiles,
                        bias=op.bias is not None, act=op.act, half=op.half)
            for block in dict.fromkeys((min(near, most, channels), min(most, channels))):
                found.append(Candidate(spec, block * height * width))
    return found


def image_candidates(op: Op, source: Layout, out: Layout, isa: Isa) -> list[Candidate]:
    """The kernels for the convolution of one image; empty where none fits."""
    outputs, channels, height, width = _sizes(op)
    high, stride = op.settings["stride"]
    if stride > 2:
        return []
    registers = -(-out.columns // isa.lanes)
    across = max(k for k in range(1, 8) if registers % k == 0)
    rows = max(1, min(4, outputs))
    reach, found = (height - 1) * op.settings["dilation"][0] + 1, []
    for down in _even_rows(out.rows, 7 // across):
        near = _near_channels(((down - 1) * high + reach) * source.line * 4)
        block = min(near, max(1, MAX_COLUMNS // source.plane), channels)
        for grouped in _groupings(op, rows):
            spec = ImageConv(lanes=isa.lanes, across=across, down=down, rows=rows, grouped=grouped, stride=stride,
                             tail=out.rows % down, chunks=registers // across, ragged=out.columns % isa.lanes,
                             source_line=high * source.line * 4, target_line=out.line * 4, bias=op.bias is not None,
                             act=op.act, half=op.half)
            found.append(Candidate(spec, block * height * width))
    return found


def _sizes(op: Op) -> tuple[int, int, int, int]:
    """The channels of a convolution's output and of its input, the rows and the columns of its window."""
    assert op.weight is not None
    out, inside, *window = op.weight.shape
    height, width = (1, *window)[-2:]
    return out, inside * op.settings["groups"], height, width


def _near_channels(channel_bytes: int) -> int:
    """How many channels of the input fit into 70 % of the first cache."""
    return max(1, int(_first_cache() * 0.7) // channel_bytes)


def _groupings(op: Op, rows: int) -> list[bool]:
    """Whether common columns are worth a try, then lone ones."""
    return [*([True] if op.sparsity is not None and op.sparsity < 0.7 and rows == 4 else []), False]


def _even_rows(rows: int, most: int) -> list[int]:
    """How many rows of the output share the weights: without a rest where that is not far fewer.

    >>> _even_rows(28, 3), _even_rows(14, 7), _even_rows(13, 7)
    ([2, 3], [7], [7])
    """
    most = min(most, rows)
    even = max(k for k in range(1, most + 1) if rows % k == 0)
    return list(dict.fromkeys((even, most))) if 2 * even > most else [most]


def _neighbours(columns: int) -> list[int]:
    """How many neighbours along a row of the output share the weights: the likeliest best first.

    Seven neighbours of four channels are 28 sums, which with four registers for the rest fill the 32 of AVX-512.

    >>> _neighbours(28), _neighbours(14), _neighbours(13), _neighbours(2)
    ([7, 4], [7, 4], [7, 4], [2])
    """
    return [min(columns, 7), *([4] if columns > 4 and columns != 7 else [])]


def refusals(op: Op, chosen: Candidate) -> Iterator[tuple[str, str]]:
    """Every kind of kernel that could not be taken for an operator and tile at all, with the reason."""
    spec, sparsity = chosen.spec, op.sparsity or 0.0
    common = ("grouped columns", f"sparsity {sparsity:.3f} leaves too few columns in common")
    if isinstance(spec, Conv | ImageConv):
        yield from ((name, "it takes no convolution") for name in ("gather", "permute", "product of tiles"))
        yield (("convolution of a batch", "one image does not fill a register") if isinstance(spec, ImageConv) else
               ("convolution of one image", f"it takes one image, not {spec.width}"))
        if not spec.grouped and sparsity >= 0.7:
            yield common
        return
    yield "convolution", "it is a product"
    if spec.width == 1:
        yield "lone and grouped columns", "one row of the batch does not fill a register"
        if isinstance(spec, Gather) and not any("permute" in name for name, _ in chosen.rest):
            yield "permute", "the instruction set has no permutation of two registers"
        return
    yield from ((name, f"it takes one row of the batch, not {spec.width}") for name in ("gather", "permute"))
    if sparsity < 0.4:
        yield "lone columns", f"sparsity {sparsity:.3f} leaves most columns in common"
    if sparsity > 0.75:
        yield common
