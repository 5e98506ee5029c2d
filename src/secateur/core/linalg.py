"""Batched positive definite systems: damping, inverses, least squares with a support for every row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

_DAMPING = 0.01
"""As in SparseGPT; less makes inverses of Gram matrices from few samples explode."""
ROOM = 1 << 22
"""Numbers of the systems that are solved in one batch."""
KEPT = 1 << 30
"""Bytes up to which factors are kept for further right sides."""
_WORST = 1e-4
"""Below this squared ratio of a factor's smallest to its largest diagonal entry, float32 has too few digits."""


def single(values: Tensor) -> Tensor:
    """The values in float32 where their type has fewer bits, so that products of them are summed in float32.

    >>> single(torch.ones(2, dtype=torch.bfloat16)).dtype, single(torch.ones(2, dtype=torch.float64)).dtype
    (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def damp(gram: Tensor, damping: float = _DAMPING) -> Tensor:
    """Gram matrices ``(groups, n, n)`` with a fraction of their mean diagonal added to the diagonal.

    A matrix that is all zero gets ones, so that it can be inverted too.

    >>> damp(torch.eye(2)[None], 0.5)[0].tolist()
    [[1.5, 0.0], [0.0, 1.5]]
    """
    level = damping * gram.diagonal(dim1=1, dim2=2).mean(1)
    level = torch.where(level > 0, level, torch.ones_like(level))
    return gram + torch.diag_embed(level[:, None].expand(gram.shape[:2]))


def inverse(matrix: Tensor) -> Tensor:
    """The inverses of positive definite matrices ``(groups, n, n)``, by Cholesky in float64."""
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix.double()))


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """The solutions of positive definite systems, ``(batch, n, n)`` and ``(batch, n, m)``, in float64.

    The factor is made in float32, and its solution is improved once by its residual in float64, which makes it as exact
    as float64 and takes less time. Where the factor fails or is conditioned worse than 1e4 to 1, float64 does it all.
    """
    factor, poor = _cholesky(matrix.float())
    found = torch.cholesky_solve(right.float(), factor).double()
    found += torch.cholesky_solve((right - matrix.double() @ found).float(), factor).double()
    if poor.any():
        found[poor] = torch.cholesky_solve(right[poor].double(), torch.linalg.cholesky(matrix[poor].double()))
    return found


class Equations:
    """Least squares: for every row ``w`` of a layer the ``w`` that minimises ``w G w' - 2 w c`` and is zero outside its
    support, solved for many right sides ``c``.

    The matrix is scaled to a diagonal of ones. A row with a small support is solved on its support. A row with a large
    one is solved without a support, and corrected on the few entries outside it, which is the smaller system.

    Args:
        gram: ``G``, positive definite, ``(n, n)``.
        support: which entries of each row may differ from zero, bool ``(rows, n)``; by default all.

    >>> equations = Equations(torch.eye(2), torch.tensor([[True, False]]))
    >>> equations.solve(torch.tensor([[3.0], [4.0]])).tolist()
    [[3.0, 0.0]]
    """

    def __init__(self, gram: Tensor, support: Tensor | None = None):
        self.size = gram.double().diagonal().rsqrt()
        self.gram = gram.double() * self.size * self.size[:, None]
        self.support = None if support is None or bool(support.all()) else support
        if self.support is not None:
            few = self.support.sum(1) <= len(gram) // 2
            self._few, self._many = few.nonzero()[:, 0], (~few).nonzero()[:, 0]

    @cached_property
    def _inverse(self) -> Tensor:
        return inverse(self.gram[None])[0]

    @cached_property
    def _small(self) -> _SupportSolver:
        assert self.support is not None
        return _SupportSolver(self.gram, self.support[self._few])

    @cached_property
    def _large(self) -> _SupportSolver:
        assert self.support is not None
        poor = _cholesky(self.gram[None])[1]
        return _SupportSolver(self._inverse, ~self.support[self._many], torch.float64 if poor.any() else torch.float32)

    def solve(self, cross: Tensor) -> Tensor:
        """The rows ``(rows, n)``, float64, for right sides ``(n, rows)``, improved once by their residual."""
        right = cross.T.double() * self.size
        if self.support is None:
            return solve(self.gram[None], right.T[None])[0].T * self.size
        found = self._once(right)
        return (found + self._once(right - found @ self.gram)) * self.size

    def _once(self, right: Tensor) -> Tensor:
        assert self.support is not None
        found = torch.zeros_like(right)
        if len(self._few):
            found[self._few] = self._small(right[self._few])
        if len(self._many):
            here = self.support[self._many]
            whole = (right[self._many] * here) @ self._inverse
            found[self._many] = (whole - self._large(whole) @ self._inverse) * here
        return found


class _SupportSolver:
    """Solves ``matrix[S, S] x = right[S]`` for a support ``S`` of every row; ``x`` is zero outside it.

    The matrix is scaled to a diagonal of ones and factored in ``dtype``, or in float64 where a factor fails or is
    conditioned worse than 1e4 to 1. Factors are kept where they fit into ``KEPT`` bytes.
    """

    def __init__(self, matrix: Tensor, support: Tensor, dtype: torch.dtype = torch.float32):
        size = matrix.diagonal().rsqrt()
        self.size, self.matrix, self.support = size, matrix * size * size[:, None], support
        self.counts, self.dtype = support.sum(1), dtype

    def __call__(self, right: Tensor) -> Tensor:
        """The solutions for ``(rows, n)``, in float64."""
        found = torch.zeros_like(right, dtype=torch.float64)
        right = right * self.size
        for rows, place, factor in self._kept if self._kept is not None else self._factors():
            values = right[rows[:, None], place].to(factor.dtype)[:, :, None]
            found[rows[:, None], place] = torch.cholesky_solve(values, factor)[:, :, 0].double()
        return found * self.support * self.size

    @cached_property
    def _kept(self) -> list[tuple[Tensor, Tensor, Tensor]] | None:
        fits = self.dtype.itemsize * int(self.counts.square().sum()) <= KEPT
        return list(self._factors()) if fits else None

    def _factors(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of rows, the places of their unknowns, and the factors.

        Rows of a batch have supports of different sizes; a smaller system is filled up with the unit matrix.
        """
        matrix = self.matrix.to(self.dtype)
        for rows in _batches(self.counts):
            width = max(1, int(self.counts[rows].max()))
            place = self.support[rows].to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :width]
            factor, poor = _cholesky(_submatrices(matrix, place, self.counts[rows]))
            if poor.any():
                again = _submatrices(self.matrix, place[poor], self.counts[rows[poor]])
                yield rows[poor], place[poor], torch.linalg.cholesky(again)
            if not poor.all():
                yield rows[~poor], place[~poor], factor[~poor] if poor.any() else factor


def _submatrices(matrix: Tensor, place: Tensor, counts: Tensor) -> Tensor:
    """The rows and columns at some places, ``(batch, width, width)``; the unit matrix from the count on."""
    found = matrix[place[:, :, None], place[:, None, :]]
    if bool((counts < place.shape[1]).any()):
        here = torch.arange(place.shape[1], device=place.device) < counts[:, None]
        found *= here[:, :, None] & here[:, None, :]
        found.diagonal(dim1=1, dim2=2).add_((~here).to(found.dtype))
    return found


def _cholesky(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors, and which of them failed or are conditioned poorly."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    diagonal = factor.diagonal(dim1=1, dim2=2)
    return factor, (info > 0) | ~(diagonal.amin(1) > _WORST**0.5 * diagonal.amax(1))


def _batches(counts: Tensor) -> Iterator[Tensor]:
    """Rows in batches of similar counts whose systems fit ``ROOM``, the largest counts first.

    >>> [r.tolist() for r in _batches(torch.tensor([1000, 2, 4000]))]
    [[2], [0, 1]]
    """
    order = counts.argsort(descending=True)
    first = 0
    while first < len(order):
        size = max(1, int(counts[order[first]]))
        last = first + max(1, ROOM // size**2)
        yield order[first:last]
        first = last
