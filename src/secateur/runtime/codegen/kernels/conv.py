"""Sparse convolution: the kernel of the sparse product, repeated over the positions of the output.

A value is a padded, channel-major buffer whose smallest unit is one register: the same position of
one channel for as many images as a register has lanes. A non-zero weight then is an offset into that
buffer, and no im2col matrix is built. ``tiles`` neighbours along a row of the output share the
weights. Padding slots of the stream point to a real value with weight 0: were that value NaN or
infinite, the flag would have been set by what produced it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.kernels.spmm import Product, ProductWriter


class PositionWriter(ProductWriter):
    """Writes the product once for every position of the output."""

    def block(self, entry: Any) -> None:
        """One block of columns over all positions of the output."""
        e, spec = self.e, self.spec
        columns = e.at(self.source, e.word(entry, 0))
        width = self.word(10)
        whole = e.b.sub(width, e.i(spec.tail))
        with e.loop(0, self.word(9)) as row:
            source = e.at(columns, e.b.mul(row, self.word(11)))
            self.line = e.b.mul(row, self.word(13))
            with e.loop(0, whole, spec.tiles) as position:
                self._positions(entry, source, position, spec.tiles)
            if spec.tail:
                self._positions(entry, source, whole, spec.tail)

    def _positions(self, entry: Any, source: Any, position: Any, tiles: int) -> None:
        """``tiles`` neighbours along a row of the output, from ``position`` on."""
        e, spec = self.e, self.spec
        self.tiles, self.shift = tiles, e.b.add(self.line, e.times(position, spec.lanes * 4))
        self.groups(entry, e.at(source, e.times(position, spec.step)))

    def target_of(self, row: Any) -> Any:
        """Where the sums of a channel go: the position in its plane."""
        e = self.e
        return e.at(self.target, e.b.add(e.b.mul(row, self.word(12)), self.shift))

    def zero_row(self) -> None:
        """Zeros behind the output, where a linear layer reads it next."""
        e = self.e
        place = self.word(14)
        with e.b.if_then(e.b.icmp_signed("!=", place, e.i(0))):
            e.store(self.zero, e.at(self.arena, place))


@dataclass(frozen=True, kw_only=True)
class Conv(Product):
    """The kernel ``out[channel, position] = act(bias[channel] + sum(weight * in[column + position]))``.

    ``tail`` positions of a row are left over after whole tiles of ``tiles``.
    Words of a step: function, in, out, table, heads, stream, bias, parts, blocks, rows of the output,
    columns of the output, bytes between rows of the input that follow each other in the output, bytes of
    an output channel, bytes of an output row, place of the zeros behind the output (or 0).
    """

    tiles: int
    stride: int
    tail: int

    writer = PositionWriter

    @property
    def unit(self) -> int:
        """Bytes that one step of a column's index means."""
        return self.lanes * 4

    @property
    def width(self) -> int:
        """Batch rows in a tile."""
        return self.lanes

    @property
    def step(self) -> int:
        """Bytes between the inputs of neighbours in the output."""
        return self.stride * self.lanes * 4
