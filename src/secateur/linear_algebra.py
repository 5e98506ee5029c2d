"""Batched positive definite systems: damping, inverses, least squares with a support for every row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

DAMPING = 0.01
ROOM = 1 << 25
WORST = 1e-4


def damped(gram: Tensor, damping: float = DAMPING) -> Tensor:
    """Gram matrices ``(groups, n, n)`` with a part of their mean diagonal added to it; one that is all zero gets one.

    >>> damped(torch.eye(2)[None], 0.5)[0].tolist()
    [[1.5, 0.0], [0.0, 1.5]]
    """
    level = damping * gram.diagonal(dim1=1, dim2=2).mean(1)
    level = torch.where(level > 0, level, torch.ones_like(level))
    return gram + torch.diag_embed(level[:, None].expand(gram.shape[:2]))


def inverse(matrix: Tensor) -> Tensor:
    """The inverses of positive definite matrices ``(groups, n, n)``, by Cholesky in float64."""
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix.double()))


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """The solutions of positive definite systems, ``(batch, n, n)`` and ``(batch, n, m)``, in float64.

    The factor is made in float32, its solution improved once by its residual in float64; where the factor fails or
    is worse conditioned than 1e4 to 1, all is done in float64.
    """
    factor, info = torch.linalg.cholesky_ex(matrix.float())
    diagonal = factor.diagonal(dim1=1, dim2=2)
    poor = (info > 0) | ~(diagonal.amin(1) > WORST**0.5 * diagonal.amax(1))
    found = torch.cholesky_solve(right.float(), factor).double()
    found += torch.cholesky_solve((right - matrix.double() @ found).float(), factor).double()
    if poor.any():
        found[poor] = torch.cholesky_solve(right[poor].double(), torch.linalg.cholesky(matrix[poor].double()))
    return found


def least_squares(gram: Tensor, cross: Tensor, support: Tensor | None = None) -> Tensor:
    """For every row ``w`` of a layer the minimum of ``w G w' - 2 w c``, zero outside the row's support.

    Rows with a small support are solved on it; the others by what the unrestricted solution has to give up.

    Args:
        gram: ``G``, positive definite, ``(n, n)``.
        cross: one column ``c`` a row, ``(n, rows)``.
        support: what of each row may differ from zero, bool ``(rows, n)``; everything where it is left out.

    Returns:
        The rows, ``(rows, n)``, float64.

    >>> least_squares(torch.eye(2), torch.tensor([[3.0], [4.0]]), torch.tensor([[True, False]])).tolist()
    [[3.0, 0.0]]
    """
    if support is None or bool(support.all()):
        return solved(gram[None], cross[None])[0].T
    found = torch.zeros(support.shape, dtype=torch.float64, device=gram.device)
    counts = support.sum(1)
    few = counts <= gram.shape[0] // 2
    for rows in runs(torch.where(few, counts, -1)):
        found[rows] = on_support(gram, cross.T[rows], support[rows])
    if not few.all():
        left, whole = inverse(gram[None])[0], solved(gram[None], cross[None])[0].T
        for rows in runs(torch.where(few, -1, gram.shape[0] - counts)):
            given_up = on_support(left, whole[rows], ~support[rows])
            found[rows] = (whole[rows] - given_up @ left) * support[rows]
    return found


def runs(counts: Tensor) -> Iterator[Tensor]:
    """Rows of similar counts together, so that their systems fit the room; rows of negative count never.

    >>> [r.tolist() for r in runs(torch.tensor([4000, -1, 2, 5000]))]
    [[2, 0], [3]]
    """
    order = counts.argsort()
    order = order[counts[order] >= 0]
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * int(counts[order[last]]) ** 2 <= ROOM:
            last += 1
        yield order[first:last]
        first = last


def on_support(matrix: Tensor, right: Tensor, support: Tensor) -> Tensor:
    """The solutions of ``matrix[S, S] x = right[S]`` with a support ``S`` for every row, zero outside it."""
    width = max(1, int(support.sum(1).max()))
    here, place = support.to(torch.uint8).sort(dim=1, descending=True, stable=True)
    here, place = here[:, :width].bool(), place[:, :width]
    small = matrix[place[:, :, None], place[:, None, :]] * (here[:, :, None] & here[:, None, :])
    small = small + torch.diag_embed((~here).to(matrix.dtype))
    values = torch.where(here, right.gather(1, place), 0)
    found = solved(small, values[:, :, None])[..., 0]
    return torch.zeros(support.shape, dtype=torch.float64, device=matrix.device).scatter(1, place, found * here)
