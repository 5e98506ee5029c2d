"""The normal equations of one layer, with its bias as one more input, split into a part to fit and one held out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.linalg import Equations, single
from secateur.pruning.signals.inputs import check_sums
from secateur.pruning.signals.unfold import groups_of
from secateur.recovery.layer_io import LayerRows, RefitLayer

_HELD_OUT = 8
"""One row in so many is held out to choose the damping by."""
_DAMPINGS = (1e-4, 1e-3, 1e-2, 1e-1)
_PROBED = 48
"""Dampings are compared on so many outputs of a layer or a few more, which is enough to choose one."""
_FEW = 256
"""Up to so many columns products are made in float64, which costs little there; above it in float32."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """``gram`` ``(groups, n, n)`` and ``cross`` ``(groups, n, outputs)``, sums in float64 over ``rows`` rows."""

    gram: Any = 0.0
    cross: Any = 0.0
    rows: int = 0

    def plus(self, x: Tensor, y: Tensor) -> NormalEquations:
        """With more rows; layers of few columns are summed in float64 from the start, others in float32."""
        x, y = in_precision(x, y)
        gram, cross = (x.transpose(1, 2) @ x).double(), (x.transpose(1, 2) @ y).double()
        return NormalEquations(self.gram + gram, self.cross + cross, self.rows + x.shape[1])

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(self.gram + other.gram, self.cross + other.cross, self.rows + other.rows)

    def error(self, rows: Tensor) -> float:
        """The squared error of a layer's rows ``(groups, outputs, n)``, but for a constant, a row of data."""
        square = ((rows @ self.gram) * rows).sum() - 2 * (rows * self.cross.transpose(1, 2)).sum()
        return float(square) / max(self.rows, 1)


def in_precision(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and outputs in the precision in which their products are made."""
    return (x.double(), y.double()) if x.shape[2] <= _FEW else (single(x), single(y))


def add_ones(module: nn.Module, x: Tensor) -> Tensor:
    """Inputs with a column of ones for the bias, where the layer has one."""
    return x if module.bias is None else torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)


def weight_rows(module: nn.Module) -> Tensor:
    """A layer's weight and bias as rows: ``(groups, outputs, n)`` in float64."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows = weight.detach().double().reshape(groups_of(module), -1, weight[0].numel())
    if not isinstance(module.bias, Tensor):
        return rows
    return torch.cat([rows, module.bias.detach().double().view(*rows.shape[:2], 1)], 2)


def write_rows(module: nn.Module, rows: Tensor) -> None:
    """Put rows back into a layer's weight and bias; zeros are positive, which a file need not store."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        columns = weight[0].numel()
        weight.copy_(rows[..., :columns].reshape(weight.shape) + 0.0)
        if isinstance(bias, Tensor):
            bias.copy_(rows[..., columns].reshape(bias.shape))


def row_support(layer: RefitLayer) -> Tensor | None:
    """What of each row may be fitted, ``(groups, outputs, n)``: the weights that stay, and the bias."""
    if layer.support is None:
        return None
    groups = groups_of(layer.module)
    mask = layer.support.reshape(groups, -1, layer.support.shape[1]).to(layer.module.weight.device)  # type: ignore[arg-type]
    return mask if layer.module.bias is None else torch.cat([mask, torch.ones_like(mask[..., :1])], 2)


def sum_equations(layer: RefitLayer, rows: LayerRows) -> tuple[NormalEquations, NormalEquations]:
    """The equations of the rows to fit and of those held out, every eighth."""
    fit, held = NormalEquations(), NormalEquations()
    for x, y in rows:
        x, seen = add_ones(layer.module, x), fit.rows + held.rows
        out = torch.arange(seen, seen + x.shape[1], device=x.device) % _HELD_OUT == 0
        fit, held = fit.plus(x[:, ~out], y[:, ~out]), held.plus(x[:, out], y[:, out])
    check_sums(layer.name, fit.gram, fit.cross, torch.as_tensor(held.gram), torch.as_tensor(held.cross))
    return fit, held


def ridge(normal: NormalEquations, part: float, toward: Tensor) -> NormalEquations:
    """The equations with a pull towards given rows; ``part`` of the mean diagonal is added, of 1 where it is zero."""
    mean = normal.gram.diagonal(dim1=1, dim2=2).mean(1)
    level = part * torch.where(mean > 0, mean, torch.ones_like(mean))
    gram = normal.gram + torch.diag_embed(level[:, None].expand(normal.gram.shape[:2]))
    return NormalEquations(gram, normal.cross + level[:, None, None] * toward.transpose(1, 2), normal.rows)


def systems_of(normal: NormalEquations, support: Tensor | None) -> list[Equations]:
    """The equations of every group on their supports, to be solved for one target after the other."""
    return [Equations(gram, None if support is None else support[g]) for g, gram in enumerate(normal.gram)]


def solve(systems: list[Equations], cross: Tensor) -> Tensor:
    """The rows that solve the equations for these right sides: ``(groups, outputs, n)``."""
    return torch.stack([system.solve(right) for system, right in zip(systems, cross, strict=True)])


def best_damping(fit: NormalEquations, held: NormalEquations, support: Tensor | None, toward: Tensor) -> float:
    """The damping with the least error on the rows held out, tried on some of the outputs.

    Sums of products in float32 are off by rounding, so that with a small damping they may be no equations that have a
    solution; such dampings are left out.
    """
    some = slice(None, None, max(1, toward.shape[1] // _PROBED))
    few, test = (NormalEquations(n.gram, n.cross[..., some], n.rows) for n in (fit, held))
    mask, near = None if support is None else support[:, some], toward[:, some]

    def error(damping: float) -> float:
        pulled = ridge(few, damping, near)
        return test.error(solve(systems_of(pulled, mask), pulled.cross))
    whole = fit + held
    # A system that has a solution has one with more damping, too.
    solvable = itertools.dropwhile(
        lambda d: not all(_is_definite(ridge(n, d, toward).gram) for n in (fit, whole)), _DAMPINGS)
    return min(list(solvable) or _DAMPINGS[-1:], key=error)


def _is_definite(gram: Tensor) -> bool:
    """Whether symmetric matrices ``(groups, n, n)`` are positive definite, and so all that a support leaves of them."""
    return not torch.linalg.cholesky_ex(gram.double()).info.any()
