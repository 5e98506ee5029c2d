"""Which kernels can run a sparse product, the likeliest best first."""

from __future__ import annotations

import functools
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
        if isinstance(self.spec, Gather):
            return f"gather {self.spec.lanes} rows"
        if isinstance(self.spec, Permute):
            return f"permute {self.spec.rows} rows, chunks that at least {self.spec.min_filled} fill"
        if isinstance(self.spec, ImageConv):
            kind = "grouped" if self.spec.grouped else "lone"
            return (f"convolution of one image, {kind} columns, {self.spec.rows} channels x {self.spec.down} rows x "
                    f"{self.spec.across * self.spec.lanes} columns, blocks of {self.block}")
        if isinstance(self.spec, Conv):
            kind = "grouped" if self.spec.grouped else "lone"
            return (f"convolution, {kind} columns, {self.spec.rows} channels x {self.spec.tiles} positions x "
                    f"{self.spec.lanes} batch, blocks of {self.block}")
        kind = "grouped" if self.spec.grouped else "lone"
        return f"{kind} columns, {self.spec.rows} rows x {self.spec.width} batch, blocks of {self.block}"


@functools.cache
def first_cache() -> int:
    """Bytes of the first data cache; 32 KiB where the system does not say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index0/size").read_text().strip()
        return int(text.removesuffix("K")) * 1024
    except (OSError, ValueError):
        return 32 * 1024


def candidates(op: Op, lanes: int, tiles: int, isa: Isa) -> list[Candidate]:
    """The kernels for one product and shape of tile; empty where none fits."""
    assert op.weight is not None
    columns = op.weight.shape[1]
    if columns > MAX_COLUMNS:
        return []
    bias, sparsity = op.bias is not None, op.sparsity or 0.0
    if lanes * tiles == 1:
        permute = [Candidate(Permute(bias, op.act, half=op.half), columns)] if isa.name == "avx512" else []
        return [*permute, Candidate(Gather(isa.lanes, bias, op.act, half=op.half), columns)]
    grouped = [c for c in _plain(lanes, tiles, op, isa, True) if c.spec.rows in (2, 4)]
    lone = _plain(lanes, tiles, op, isa, False)
    if sparsity < 0.4:
        return grouped or lone
    if sparsity <= 0.75 and grouped:
        return [*grouped, *lone] if sparsity < 0.6 else [*lone, *grouped]
    return lone[::-1] if sparsity > 0.965 else lone


def conv_candidates(op: Op, lanes: int, columns: int, plane: int, isa: Isa) -> list[Candidate]:
    """The kernels for one convolution with ``columns`` positions in a row of its output."""
    assert op.weight is not None
    out, inside, *window = op.weight.shape
    height, width = (1, *window)[-2:]
    channels, stride = inside * op.settings["groups"], op.settings["stride"][1]
    found = []
    for tiles in neighbours(columns):
        reach = (tiles - 1) * stride + (width - 1) * op.settings["dilation"][1] + 1
        near = max(1, int(first_cache() * 0.7) // (height * reach * lanes * 4))
        most = max(1, MAX_COLUMNS // plane)
        rows = max(1, min(4, (isa.registers - 4) // tiles, out))
        for grouped in ([True] if op.sparsity is not None and op.sparsity < 0.7 and rows == 4 else []) + [False]:
            spec = Conv(lanes=lanes, tiles=tiles, rows=rows, grouped=grouped, stride=stride, tail=columns % tiles,
                        bias=op.bias is not None, act=op.act, half=op.half)
            for block in dict.fromkeys((min(near, most, channels), min(most, channels))):
                found.append(Candidate(spec, block * height * width))
    return found


def image_candidates(op: Op, source: Layout, out: Layout, isa: Isa) -> list[Candidate]:
    """The kernels for the convolution of one image; empty where none fits."""
    assert op.weight is not None
    channels, inside, *window = op.weight.shape
    (height, _), (high, stride) = (1, *window)[-2:], op.settings["stride"]
    if stride > 2:
        return []
    registers = -(-out.columns // isa.lanes)
    across = max(k for k in range(1, 8) if registers % k == 0)
    rows = max(1, min(4, channels))
    reach = (height - 1) * op.settings["dilation"][0] + 1
    found = []
    for down in even_rows(out.rows, 7 // across):
        near = max(1, int(first_cache() * 0.7) // (((down - 1) * high + reach) * source.line * 4))
        most = max(1, MAX_COLUMNS // source.plane)
        for grouped in ([True] if op.sparsity is not None and op.sparsity < 0.7 and rows == 4 else []) + [False]:
            spec = ImageConv(lanes=isa.lanes, across=across, down=down, rows=rows, grouped=grouped, stride=stride,
                             tail=out.rows % down, chunks=registers // across, ragged=out.columns % isa.lanes,
                             source_line=high * source.line * 4, target_line=out.line * 4, bias=op.bias is not None,
                             act=op.act, half=op.half)
            block = min(near, most, inside * op.settings["groups"])
            found.append(Candidate(spec, block * height * (1, *window)[-1]))
    return found


def even_rows(rows: int, most: int) -> list[int]:
    """How many rows of the output share the weights: without a rest where that is not far fewer.

    >>> even_rows(28, 3), even_rows(14, 7), even_rows(13, 7)
    ([2, 3], [7], [7])
    """
    most = min(most, rows)
    even = max(k for k in range(1, most + 1) if rows % k == 0)
    return list(dict.fromkeys((even, most))) if 2 * even > most else [most]


def neighbours(columns: int) -> list[int]:
    """How many neighbours along a row of the output share the weights: the likeliest best first.

    >>> neighbours(28), neighbours(14), neighbours(13), neighbours(2)
    ([7, 4], [7, 4], [7, 4], [2])
    """
    return [min(columns, 7), *([4] if columns > 4 and columns != 7 else [])]


def _plain(lanes: int, tiles: int, op: Op, isa: Isa, grouped: bool) -> list[Candidate]:
    assert op.weight is not None
    columns = op.weight.shape[1]
    rows = max(2, min(8, isa.registers // 2 // tiles))
    rows = 4 if tiles == 2 or (grouped and rows > 4) else rows
    row_bytes = lanes * tiles * 4
    unit = 8 if tiles == 1 and (columns + 1) * row_bytes // 8 <= 0xFFFF else row_bytes
    permute = isa.name == "avx512" and not grouped and lanes >= 8
    spec = Spmm(lanes=lanes, tiles=tiles, rows=rows, grouped=grouped, unit=unit, bias=op.bias is not None, act=op.act,
                permute=permute, half=op.half)
    near = max(8, int(first_cache() * 0.75) // row_bytes)
    blocks = dict.fromkeys(min(columns, block) for block in (near, columns))
    return [Candidate(spec, block) for block in blocks]


def refusals(op: Op, chosen: Candidate) -> tuple[tuple[str, str], ...]:
    """Every kind of kernel that could not be taken for an operator and tile at all, with the reason."""
    spec, sparsity, found = chosen.spec, op.sparsity or 0.0, []
    if isinstance(spec, Conv | ImageConv):
        found += [(name, "it takes no convolution") for name in ("gather", "permute", "product of tiles")]
        one = isinstance(spec, ImageConv)
        found.append(("convolution of a batch", "one image does not fill a register") if one else
                     ("convolution of one image", f"it takes one image, not {spec.width}"))
        if not spec.grouped and sparsity >= 0.7:
            found.append(("grouped columns", f"sparsity {sparsity:.3f} leaves too few columns in common"))
        return tuple(found)
    found.append(("convolution", "it is a product"))
    if spec.width == 1:
        found.append(("lone and grouped columns", "one row of the batch does not fill a register"))
        if isinstance(spec, Gather) and not any("permute" in name for name, _ in chosen.rest):
            found.append(("permute", "the instruction set has no permutation of two registers"))
        return tuple(found)
    found += [(name, f"it takes one row of the batch, not {spec.width}") for name in ("gather", "permute")]
    if sparsity < 0.4:
        found.append(("lone columns", f"sparsity {sparsity:.3f} leaves most columns in common"))
    if sparsity > 0.75:
        found.append(("grouped columns", f"sparsity {sparsity:.3f} leaves too few columns in common"))
    return tuple(found)
