"""Reconstruct: refit each layer by least squares so that it gives what it gave before the cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.linalg import single
from secateur.recovery import least_squares as normal
from secateur.recovery.layer_io import ROWS, Rows, Task, tasks
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.settings import check, whole


@dataclass(frozen=True)
class Reconstruct(Recovery):
    """Refit every layer behind the first cut, one after the other: the inputs are those of the cut network so
    far, the targets what the original's layer gave; weights that went stay zero, biases are fitted too.

    Each row is solved exactly on what it has left (Cholesky, in float64 where the condition asks). The
    damping pulls towards the weights as they were and is chosen by the error on an eighth of the rows.
    Where nothing but a ReLU reads a layer, negative outputs need only stay negative (Zhang et al.,
    *Accelerating Very Deep Convolutional Networks*, TPAMI 2016), which some more solutions use. No labels,
    no training.

    Attributes:
        relu_rounds: solutions after the first for layers that a ReLU follows.
        rows: at most so many rows (samples times places of a feature map) are used.
    """

    relu_rounds: int = 3
    rows: int = ROWS
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check("reconstruct", self, {"relu_rounds": whole(self.relu_rounds, 0), "rows": whole(self.rows, 1)},
              "whole relu_rounds from 0, rows from 1")

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network with its layers refitted.

        Raises:
            UnsupportedError: the cut network was built from a graph and has not the original's layers.
        """
        for task in tasks(patient):
            rows = Rows(patient, task, self.rows)
            normal.write(task.module, refit(task, rows, self.relu_rounds))
        return patient.pruned


def refit(task: Task, rows: Rows, relu_rounds: int) -> Tensor:
    """The rows of one layer that come nearest to the targets: ``(groups, outputs, n)``."""
    start, support = normal.layer_rows(task.module), normal.supports(task)
    fit, held = normal.gathered(task, rows)
    damping = normal.best_damping(fit, held, support, start)
    whole = fit + held
    return improved(task, rows, whole, damping, support, start, relu_rounds)


def improved(task: Task, rows: Rows, whole: normal.Normal, damping: float, support: Tensor | None, start: Tensor,
             relu_rounds: int) -> Tensor:
    """The solution, and where a ReLU follows better ones."""
    pulled = normal.ridge(whole, damping, start)
    systems = normal.equations(pulled, support)
    found = normal.fitted(systems, pulled.cross)
    for _ in range(relu_rounds if task.rectified else 0):
        again = rectified_cross(task, rows, found) + (pulled.cross - whole.cross)
        found = normal.fitted(systems, again)
    return found


def rectified_cross(task: Task, rows: Rows, found: Tensor) -> Tensor:
    """The products of inputs and targets where a target that a ReLU would cut may be whatever is negative."""
    total: Any = 0.0
    layer = found.transpose(1, 2)
    for x, y in rows:
        x = normal.with_one(task.module, x)
        x, y = (x.double(), y.double()) if x.shape[2] <= normal.FEW else (single(x), single(y))
        given = x @ layer.to(x.dtype)
        target = torch.where(y > 0, y, given.clamp_max(0))
        total = total + (x.transpose(1, 2) @ target).double()
    return total  # type: ignore[no-any-return]
