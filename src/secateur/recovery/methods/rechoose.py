"""Rechoose: choose again which weights or blocks of each layer to keep, together with their values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from secateur.core.bounds import check_settings, whole
from secateur.core.errors import UnsupportedError
from secateur.recovery import least_squares as normal
from secateur.recovery.layer_io import ROWS, LayerRows, RefitLayer, refit_each
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.reconstruct import refit_layer, write_best
from secateur.recovery.picks import Pick, Picks, rechoosable

_DAMPING = 1e-3


@dataclass(frozen=True)
class Rechoose(Recovery):
    """Choose anew which weights, or blocks of weights, of each layer stay, as many as the plan leaves it, so that its
    outputs come closest to those of the original's layer. The alternating direction method of multipliers finds them
    together with their values, which are then refitted exactly (Boyd et al., 2011, section 9.1; for pruned layers Meng
    et al., *ALPS*, NeurIPS 2024). Like ``reconstruct`` it goes from layer to layer with the inputs of the cut network
    so far; layers that were not cut are refitted. It needs neither labels nor training.

    The plan then says how many weights or blocks of each layer went, not which ones. For weights, blocks and N:M.

    Attributes:
        rounds: at most so many rounds of the alternation for each layer.
        relu_rounds, rows: as in ``reconstruct``.
    """

    rounds: int = 20
    relu_rounds: int = 2
    rows: int = ROWS
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check_settings("rechoose", vars(self), rounds=whole(0), relu_rounds=whole(0), rows=whole(1))

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Always."""
        return True

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network with other weights left, and refitted.

        Raises:
            UnsupportedError: the plan cuts neurons.
        """
        if others := [kind for kind in sorted(context.granularities) if not rechoosable({kind})]:
            raise UnsupportedError(f"recovery rechoose takes plans of weights, blocks or N:M, got '{others[0]}': use "
                                   "reconstruct, which keeps what the plan keeps")
        return refit_each(context, self.rows, partial(self._refit, Picks(context)))

    def _refit(self, picks: Picks, layer: RefitLayer, rows: LayerRows) -> int:
        if not layer.removed:
            return refit_layer(layer, rows, self.relu_rounds)
        fit, held = normal.sum_equations(layer, rows)
        start = normal.weight_rows(layer.original)
        support = _choose(fit + held, picks.of(layer), start, self.rounds)
        write_best(layer, rows, fit, held, support, start, self.relu_rounds)
        return fit.rows + held.rows


def _choose(whole: normal.NormalEquations, pick: Pick, start: Tensor, rounds: int) -> Tensor:
    """Which entries of a layer's rows stay, ``(groups, outputs, n)``: as many items as in the plan, and every bias.

    Inputs are scaled to one size first. ``values`` solves the equations near what was chosen last, ``left`` is the sum
    of what choosing lost, and the pull between them grows from round to round.
    """
    pulled = normal.ridge(whole, _DAMPING, start)
    size = pulled.gram.diagonal(dim1=1, dim2=2).sqrt()
    strengths, base = torch.linalg.eigh((pulled.gram / size[:, :, None] / size[:, None]).float())
    aim = (pulled.cross / size[:, :, None]).float().transpose(1, 2)
    values = aim @ _inverse(base, strengths)
    support = pick(values)
    picked, left, pull = values * support, torch.zeros_like(values), 0.1
    for step in range(rounds):
        if step % 3 == 0:
            solving = _inverse(base, strengths + pull)
        values = left + (aim + pull * (picked - left)) @ solving
        before, support = support, pick(values)
        picked = values * support
        left = values - picked
        changed = int((before != support).sum()) / max(int(support.sum()), 1)
        if changed == 0 and step > rounds // 2:
            break
        if step % 3 == 2:
            # as ALPS does: the pull grows faster while many entries still change
            pull *= 1.3 if changed > 0.1 else 1.2 if changed > 0.005 else 1.1
    return support


def _inverse(base: Tensor, strengths: Tensor) -> Tensor:
    """The inverse of a symmetric matrix from its eigenvectors (columns) and eigenvalues."""
    return (base / strengths[:, None]) @ base.transpose(1, 2)

