"""SparseGPT: choose and update weights together, from the first input of a layer to the last."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.core.bounds import above, check_settings, whole
from secateur.core.linalg import damp, inverse
from secateur.pruning.signals.inputs import check_sums
from secateur.recovery.checks import check_single_weights
from secateur.recovery.layer_io import ROWS, LayerRows, RefitLayer, refit_each
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult


@dataclass(frozen=True)
class Sparsegpt(Recovery):
    """The procedure of Frantar and Alistarh (*SparseGPT*, ICML 2023): go through a layer in blocks of columns, remove
    the weights that cost least by ``w**2 / c**2``, and let the columns behind make up for each one that goes. The plan
    says how many weights each layer loses; which ones is chosen here, as in ``rechoose``. Biases and layers that were
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
        check_settings("sparsegpt", vars(self), block=whole(1), damping=above(0), rows=whole(1))

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Always."""
        return True

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network with the weights that the procedure leaves.

        Raises:
            UnsupportedError: the plan cuts something else than single weights.
        """
        check_single_weights("sparsegpt", context)
        return refit_each(context, self.rows, self._refit)

    def _refit(self, layer: RefitLayer, given: LayerRows) -> int:
        if not layer.removed:
            return 0
        weight, gram, count = layer.original.weight, torch.zeros(()).double(), 0
        assert isinstance(weight, Tensor)
        for x, _ in given:
            gram, count = gram + x.transpose(1, 2).double() @ x.double(), count + x.shape[1]
        check_sums(layer.name, gram)
        rows = weight.detach().double().reshape(len(gram), -1, gram.shape[-1])
        found = sweep(rows, damp(gram, self.damping), layer.removed, self.block)
        with torch.no_grad():
            layer.module.weight.copy_(found.reshape(weight.shape))  # type: ignore[operator,union-attr]
        return count


def sweep(rows: Tensor, gram: Tensor, gone: int, block: int) -> Tensor:
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
        errors = _sweep_columns(part, steps, cut.view(cost.shape))
        rows[..., last:] -= errors @ factor[:, first:last, last:]
    return rows


def _sweep_columns(part: Tensor, steps: Tensor, cut: Tensor) -> Tensor:
    """Zero what is cut of a block in place, each column's error spread over those behind; gives the errors."""
    errors = torch.zeros_like(part)
    for i in range(part.shape[2]):
        errors[..., i] = torch.where(cut[..., i], part[..., i], 0) / steps[:, i, i, None]
        part[..., i:] -= errors[..., i:i + 1] * steps[:, i:i + 1, i:]
        part[..., i] = torch.where(cut[..., i], 0, part[..., i])
    return errors
