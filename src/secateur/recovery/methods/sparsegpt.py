"""SparseGPT: mask and updates together, from the first input of a layer to the last."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.core.linalg import damp, inverse
from secateur.pruning.signals.inputs import check_sums
from secateur.recovery.layer_io import ROWS, Rows, tasks
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.methods.rechoose import check_single
from secateur.recovery.settings import above, check, whole


@dataclass(frozen=True)
class Sparsegpt(Recovery):
    """The procedure of Frantar and Alistarh (*SparseGPT*, ICML 2023): in blocks of columns take the weights that cost
    least by ``w**2 / c**2``, and let the columns behind make up for each one that goes. How many weights each
    layer loses is the plan's; which ones is chosen here, as in ``rechoose``. Biases and layers that were
    not cut stay, as published.

    Attributes:
        block: columns whose mask is chosen at once.
        damping: part of the mean diagonal that is added to it.
        rows: at most so many rows of inputs are used.
    """

    block: int = 128
    damping: float = 0.01
    rows: int = ROWS
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check("sparsegpt", self, {"block": whole(self.block, 1), "damping": above(self.damping, 0),
                                  "rows": whole(self.rows, 1)}, "whole block and rows from 1, damping above 0")

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Always."""
        return True

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network with the weights that the procedure leaves.

        Raises:
            UnsupportedError: the plan cuts something else than single weights.
        """
        check_single(patient, "sparsegpt")
        dense = dict(patient.original.named_modules())
        for task in tasks(patient):
            if task.support is None or bool(task.support.all()):
                continue
            weight = dense[task.name].weight
            assert isinstance(weight, Tensor)
            gram, count = torch.zeros(()).double(), 0
            for x, _ in Rows(patient, task, self.rows):
                gram, count = gram + x.transpose(1, 2).double() @ x.double(), count + x.shape[1]
            patient.seen[task.name] = (count, gram.shape[-1])
            check_sums(task.name, gram)
            rows = weight.detach().double().reshape(len(gram), -1, gram.shape[-1])
            gone = task.support.numel() - int(task.support.sum())
            found = swept(rows, damp(gram, self.damping), gone, self.block)
            with torch.no_grad():
                task.module.weight.copy_(found.reshape(weight.shape))  # type: ignore[operator,union-attr]
        return patient.pruned


def swept(rows: Tensor, gram: Tensor, gone: int, block: int) -> Tensor:
    """The rows of a layer after the sweep: ``(groups, outputs, n)``, ``gone`` of their values zero.

    Each block loses its share of ``gone``, the last what is left of it.
    """
    rows, size = rows.clone(), rows.shape[2]
    factor = torch.linalg.cholesky(inverse(gram), upper=True)
    lost = 0
    for first in range(0, size, block):
        last = min(first + block, size)
        here = round(gone * last / size) - lost
        lost += here
        part, steps = rows[..., first:last], factor[:, first:last, first:last]
        cost = (part / steps.diagonal(dim1=1, dim2=2)[:, None]).square()
        cut = torch.zeros(cost.numel(), dtype=torch.bool, device=rows.device)
        cut[cost.flatten().topk(here, largest=False).indices] = True
        errors = column_by_column(part, steps, cut.view(cost.shape))
        rows[..., last:] -= errors @ factor[:, first:last, last:]
    return rows


def column_by_column(part: Tensor, steps: Tensor, cut: Tensor) -> Tensor:
    """Zero what is cut of a block in place, each column's error spread over those behind; gives the errors."""
    errors = torch.zeros_like(part)
    for i in range(part.shape[2]):
        errors[..., i] = torch.where(cut[..., i], part[..., i], 0) / steps[:, i, i, None]
        part[..., i:] -= errors[..., i:i + 1] * steps[:, i:i + 1, i:]
        part[..., i] = torch.where(cut[..., i], 0, part[..., i])
    return errors
