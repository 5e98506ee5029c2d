"""Reconstruct: refit each layer by least squares so that its outputs match those before the cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from secateur.core.bounds import check_settings, whole
from secateur.recovery import least_squares as normal
from secateur.recovery.layer_io import ROWS, LayerRows, RefitLayer, refit_each
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult


@dataclass(frozen=True)
class Reconstruct(Recovery):
    """Refit every layer behind the first cut, one after the other. The inputs are those of the cut network so far, the
    targets are the outputs of the original's layer. Removed weights stay zero; biases are fitted too.

    Each row is solved exactly on the weights that it has left (Cholesky, in float64 where the condition number asks for
    it). The damping pulls towards the weights as they were and is chosen by the error on an eighth of the rows.
    Where nothing but a ReLU reads a layer, negative outputs need only stay negative (Zhang et al.,
    *Accelerating Very Deep Convolutional Networks*, TPAMI 2016); further solutions make use of that. It needs neither
    labels nor training.

    Attributes:
        relu_rounds: solutions after the first for layers that a ReLU follows.
        rows: at most so many rows (samples times places of a feature map) are used.
    """

    relu_rounds: int = 3
    rows: int = ROWS
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check_settings("reconstruct", vars(self), relu_rounds=whole(0), rows=whole(1))

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network with its layers refitted.

        Raises:
            UnsupportedError: the cut network was built from a graph and has not the original's layers.
        """
        return refit_each(context, self.rows, lambda layer, rows: refit_layer(layer, rows, self.relu_rounds))


def refit_layer(layer: RefitLayer, rows: LayerRows, relu_rounds: int) -> int:
    """Fit a layer to its targets, in place; gives the number of rows that it was fitted to."""
    fit, held = normal.sum_equations(layer, rows)
    write_best(layer, rows, fit, held, normal.row_support(layer), normal.weight_rows(layer.module), relu_rounds)
    return fit.rows + held.rows


def write_best(layer: RefitLayer, rows: LayerRows, fit: normal.NormalEquations, held: normal.NormalEquations,
               support: Tensor | None, start: Tensor, relu_rounds: int) -> None:
    """Write the solution of a layer's equations on a support into it, and where a ReLU follows a better one.

    The damping, a pull towards the rows ``start``, ``(groups, outputs, n)``, is the one with the least error on the
    equations held out.
    """
    whole = fit + held
    pulled = normal.ridge(whole, normal.best_damping(fit, held, support, start), start)
    systems = normal.systems_of(pulled, support)
    found = normal.solve(systems, pulled.cross)
    for _ in range(relu_rounds if layer.rectified else 0):
        cross = _rectified_cross(layer, rows, found) + (pulled.cross - whole.cross)
        found = normal.solve(systems, cross)
    normal.write_rows(layer.module, found)


def _rectified_cross(layer: RefitLayer, rows: LayerRows, found: Tensor) -> Tensor:
    """The products of inputs and targets where a target that a ReLU would cut may be whatever is negative."""
    total: Any = 0.0
    weights = found.transpose(1, 2)
    for x, y in rows:
        x, y = normal.in_precision(normal.add_ones(layer.module, x), y)
        target = torch.where(y > 0, y, (x @ weights.to(x.dtype)).clamp_max(0))
        total = total + (x.transpose(1, 2) @ target).double()
    return total  # type: ignore[no-any-return]
