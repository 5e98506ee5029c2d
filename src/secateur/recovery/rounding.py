"""Rounding that compensates: what rounding one weight costs is paid for by those that are rounded after it.

For the inputs that a layer of the int8 network reads, the codes of each output are chosen by cyclic coordinate descent
so that the layer gives what the network in float32 gave (Behdin et al., *QuantEase: Optimization-based Quantization for
Language Models*, 2023): with all other codes as they are, each gets the value that is best, rounded. The layer's error
never rises, zeros stay zero, and what rounding the layers before has cost is made up for as well. The bias takes up
what is left of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.quantization.arithmetic import SPAN

_DAMPING = 0.01
"""Part of the mean of the Gram matrix' diagonal that holds weights at their values where inputs say nothing."""
_SWEEPS = 4
_BLOCK = 64
"""Columns whose changes are applied to the rest of the gradient at once."""


@dataclass(eq=False)
class Moments:
    """Sums over rows of what a layer reads, in the int8 network and before, for each group of a convolution.

    Both are counted from their first row on: a constant input then has no variance at all, where the difference of two
    large sums would leave it noise, and noise would decide over codes.

    Attributes:
        gram: ``(groups, n, n)``: of the int8 network's inputs with themselves.
        cross: ``(groups, n, n)``: of these with the inputs before.
        now, before: ``(groups, n)``: the sums of both.
        count: rows.
        first: the first row of both, ``(groups, 1, n)``; None before there is one.
    """

    gram: Tensor
    cross: Tensor
    now: Tensor
    before: Tensor
    count: int = 0
    first: tuple[Tensor, Tensor] | None = None

    @classmethod
    def empty(cls, groups: int, size: int, device: torch.device) -> Moments:
        """Of no rows."""
        square, line = (torch.zeros(shape, dtype=torch.float64, device=device)
                        for shape in ((groups, size, size), (groups, size)))
        return cls(square, square.clone(), line, line.clone())

    def add(self, now: Tensor, before: Tensor) -> None:
        """Count rows ``(groups, rows, n)`` of both."""
        if not now.shape[1]:
            return
        self.first = self.first or (now[:, :1].clone(), before[:, :1].clone())
        now, before = now - self.first[0], before - self.first[1]
        self.gram += now.transpose(1, 2) @ now
        self.cross += now.transpose(1, 2) @ before
        self.now += now.sum(1, dtype=torch.float64)
        self.before += before.sum(1, dtype=torch.float64)
        self.count += now.shape[1]

    def centred(self) -> tuple[Tensor, Tensor]:
        """Gram and cross matrix about the means, per row: what a bias cannot take up."""
        now, before = self.now / self.count, self.before / self.count
        return (self.gram / self.count - now[:, :, None] * now[:, None],
                self.cross / self.count - now[:, :, None] * before[:, None])

    def means(self) -> tuple[Tensor, Tensor]:
        """The mean rows ``(groups, n)`` of both."""
        if self.first is None:
            return self.now, self.before
        return self.now / self.count + self.first[0][:, 0], self.before / self.count + self.first[1][:, 0]


def round_rows(weight: Tensor, scale: Tensor, moments: Moments, sweeps: int = _SWEEPS) -> Tensor:
    """The weight whose values are codes times scales and whose outputs are nearest to what the weight gave before.

    Args:
        weight: ``(outputs, n)``: before rounding; its zeros stay.
        scale: ``(outputs,)``.
        moments: of the layer's inputs.
        sweeps: how many times each weight is looked at.

    Returns:
        ``(outputs, n)``, float32, values on the grid of codes.
    """
    gram, cross = moments.centred()
    damping = _DAMPING * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-30)
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device) * damping[:, None, None]
    rows = weight.double().view(len(gram), -1, weight.shape[1])
    step = scale.double().view(len(gram), -1, 1)
    codes = _descend(rows, step, gram + eye, rows @ (cross + eye).transpose(1, 2), sweeps)
    return (codes * step).reshape(weight.shape).float()


def _descend(rows: Tensor, step: Tensor, gram: Tensor, goal: Tensor, sweeps: int) -> Tensor:
    """Codes ``(groups, outputs, n)`` that lower ``q G q' - 2 q goal'`` one after the other, from the nearest on."""
    free = rows != 0
    codes = (rows / step).round().clamp(-SPAN, SPAN)
    gradient = (codes * step) @ gram - goal
    for _ in range(sweeps):
        changed = 0
        for first in range(0, rows.shape[2], _BLOCK):
            part = slice(first, min(first + _BLOCK, rows.shape[2]))
            moved = _descend_block(codes, step, gram[:, part, part], gradient[..., part].clone(), free, part)
            gradient += moved @ gram[:, part]
            changed += int(moved.count_nonzero())
        if not changed:
            break
    return codes


def _descend_block(codes: Tensor, step: Tensor, gram: Tensor, gradient: Tensor, free: Tensor, part: slice) -> Tensor:
    """Change the codes of some columns in place; gives by how much their values moved."""
    moved = torch.zeros_like(gradient)
    for i in range(gradient.shape[2]):
        own = codes[..., part.start + i]
        wanted = own * step[..., 0] - gradient[..., i] / gram[:, i, i, None]
        new = (wanted / step[..., 0]).round_().clamp_(-SPAN, SPAN)
        new = torch.where(free[..., part.start + i], new, own)
        moved[..., i] = (new - own) * step[..., 0]
        codes[..., part.start + i] = new
        gradient += moved[..., i:i + 1] * gram[:, i:i + 1]
    return moved


def moved_bias(weight: Tensor, rounded: Tensor, moments: Moments) -> Tensor:
    """What to add to the bias, ``(outputs,)``, so that the outputs have the mean that they had before."""
    groups = len(moments.now)
    before, now = (one.double().view(groups, -1, one.shape[1]) for one in (weight, rounded))
    read_now, read_before = moments.means()
    return (before @ read_before[..., None] - now @ read_now[..., None]).flatten().float()
