"""The normal equations of one layer, with its bias as one more input, split into a part to fit and one held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.linalg import Equations, single
from secateur.pruning.signals.inputs import check_sums
from secateur.pruning.signals.unfold import groups_of
from secateur.recovery.layer_io import Rows, Task

HELD_OUT = 8
DAMPINGS = (1e-4, 1e-3, 1e-2, 1e-1)
PROBED = 48
FEW = 256


@dataclass(frozen=True, eq=False)
class Normal:
    """``gram`` ``(groups, n, n)`` and ``cross`` ``(groups, n, outputs)``, sums in float64 over ``rows`` rows."""

    gram: Any = 0.0
    cross: Any = 0.0
    rows: int = 0

    def plus(self, x: Tensor, y: Tensor) -> Normal:
        """With more rows; layers of few columns are summed in float64 from the start, others in float32."""
        x, y = (x.double(), y.double()) if x.shape[2] <= FEW else (single(x), single(y))
        return Normal(self.gram + (x.transpose(1, 2) @ x).double(), self.cross + (x.transpose(1, 2) @ y).double(),
                      self.rows + x.shape[1])

    def __add__(self, other: Normal) -> Normal:
        return Normal(self.gram + other.gram, self.cross + other.cross, self.rows + other.rows)

    def error(self, rows: Tensor) -> float:
        """The squared error of a layer's rows ``(groups, outputs, n)``, but for a constant, a row of data."""
        square = ((rows @ self.gram) * rows).sum() - 2 * (rows * self.cross.transpose(1, 2)).sum()
        return float(square) / max(self.rows, 1)


def with_one(module: nn.Module, x: Tensor) -> Tensor:
    """Inputs with a column of ones for the bias, where the layer has one."""
    return x if module.bias is None else torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)


def layer_rows(module: nn.Module) -> Tensor:
    """A layer's weight and bias as rows: ``(groups, outputs, n)`` in float64."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows = weight.detach().double().reshape(groups_of(module), -1, weight[0].numel())
    if not isinstance(module.bias, Tensor):
        return rows
    return torch.cat([rows, module.bias.detach().double().view(*rows.shape[:2], 1)], 2)


def write(module: nn.Module, rows: Tensor) -> None:
    """Put rows back into a layer's weight and bias; zeros are positive, which a file need not store."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        columns = weight[0].numel()
        weight.copy_(rows[..., :columns].reshape(weight.shape) + 0.0)
        if isinstance(bias, Tensor):
            bias.copy_(rows[..., columns].reshape(bias.shape))


def supports(task: Task) -> Tensor | None:
    """What of each row may be fitted, ``(groups, outputs, n)``: the weights that stay, and the bias."""
    if task.support is None:
        return None
    groups = groups_of(task.module)
    mask = task.support.reshape(groups, -1, task.support.shape[1]).to(task.module.weight.device)  # type: ignore[arg-type]
    return mask if task.module.bias is None else torch.cat([mask, torch.ones_like(mask[..., :1])], 2)


def gathered(task: Task, rows: Rows) -> tuple[Normal, Normal]:
    """The equations of the rows to fit and of those held out, every eighth."""
    fit, held, seen = Normal(), Normal(), 0
    for x, y in rows:
        x = with_one(task.module, x)
        out = torch.arange(seen, seen + x.shape[1], device=x.device) % HELD_OUT == 0
        seen += x.shape[1]
        fit, held = fit.plus(x[:, ~out], y[:, ~out]), held.plus(x[:, out], y[:, out])
    rows.patient.seen[task.name] = (fit.rows + held.rows, task.module.weight[0].numel())  # type: ignore[index,operator]
    check_sums(task.name, fit.gram, fit.cross, torch.as_tensor(held.gram), torch.as_tensor(held.cross))
    return fit, held


def levels(gram: Tensor, part: float) -> Tensor:
    """What a damping adds to the diagonal: a part of its mean, ``(groups,)``; one where it is all zero."""
    mean = gram.diagonal(dim1=1, dim2=2).mean(1)
    return part * torch.where(mean > 0, mean, torch.ones_like(mean))


def ridge(normal: Normal, part: float, toward: Tensor) -> Normal:
    """The equations with a pull towards given rows."""
    level = levels(normal.gram, part)
    gram = normal.gram + torch.diag_embed(level[:, None].expand(normal.gram.shape[:2]))
    return Normal(gram, normal.cross + level[:, None, None] * toward.transpose(1, 2), normal.rows)


def equations(normal: Normal, support: Tensor | None) -> list[Equations]:
    """The equations of every group on their supports, to be solved for one target after the other."""
    return [Equations(gram, None if support is None else support[g]) for g, gram in enumerate(normal.gram)]


def fitted(systems: list[Equations], cross: Tensor) -> Tensor:
    """The rows that solve the equations for these right sides: ``(groups, outputs, n)``."""
    return torch.stack([system.solve(right) for system, right in zip(systems, cross, strict=True)])


def best_damping(fit: Normal, held: Normal, support: Tensor | None, toward: Tensor) -> float:
    """The damping with the least error on the rows held out, tried on some of the outputs."""
    some = slice(None, None, max(1, toward.shape[1] // PROBED))
    few, test = (Normal(n.gram, n.cross[..., some], n.rows) for n in (fit, held))
    mask, near = None if support is None else support[:, some], toward[:, some]

    def error(damping: float) -> float:
        pulled = ridge(few, damping, near)
        return test.error(fitted(equations(pulled, mask), pulled.cross))
    return min(DAMPINGS, key=error)
