"""Rechoose: choose anew which weights of each layer stay, together with their values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from secateur.core.errors import UnsupportedError
from secateur.recovery import least_squares as normal
from secateur.recovery.layer_io import ROWS, Rows, Task, tasks
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.methods.reconstruct import improved, refit
from secateur.recovery.settings import check, whole

DAMPING = 1e-3


@dataclass(frozen=True)
class Rechoose(Recovery):
    """Keep how many weights the plan leaves each layer, but choose which ones anew: those with which the layer
    comes nearest to what the original's gave, found with their values by the alternating direction method of
    multipliers, and then refitted exactly (Boyd et al., 2011, section 9.1; for pruned layers Meng et al.,
    *ALPS*, NeurIPS 2024). Like ``reconstruct`` it goes from layer to layer with the inputs of the cut
    network so far; layers that were not cut are refitted. No labels, no training.

    The plan then says how many weights of each layer went, not which ones. For granularity ``weight``.

    Attributes:
        rounds: at most so many rounds of the alternation for each layer.
        relu_rounds, rows: as in ``reconstruct``.
    """

    rounds: int = 20
    relu_rounds: int = 2
    rows: int = ROWS
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check("rechoose", self, {"rounds": whole(self.rounds, 0), "relu_rounds": whole(self.relu_rounds, 0),
                                 "rows": whole(self.rows, 1)}, "whole rounds and relu_rounds from 0, rows from 1")

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Always."""
        return True

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network with other weights left, and refitted.

        Raises:
            UnsupportedError: the plan cuts something else than single weights.
        """
        check_single(patient, "rechoose")
        dense = dict(patient.original.named_modules())
        for task in tasks(patient):
            rows = Rows(patient, task, self.rows)
            if task.support is None or bool(task.support.all()):
                normal.write(task.module, refit(task, rows, self.relu_rounds))
                continue
            fit, held = normal.gathered(task, rows)
            start, whole = normal.layer_rows(dense[task.name]), fit + held
            support = chosen(whole, task, int(task.support.sum()), start, self.rounds)
            columns = task.support.shape[1]
            task = replace(task, support=support[..., :columns].reshape(task.support.shape))
            damping = normal.best_damping(fit, held, support, start)
            normal.write(task.module, improved(task, rows, whole, damping, support, start, self.relu_rounds))
        return patient.pruned


def check_single(patient: Patient, recovery: str) -> None:
    """Refuse plans whose items are no single weights."""
    plan = patient.plan
    others = {getattr(c, "granularity", "") or plan.granularity for c in plan.cuts} - {"weight"}
    if others:
        raise UnsupportedError(f"recovery {recovery} takes plans of granularity 'weight', got '{sorted(others)[0]}': "
                               "use reconstruct, which keeps what the plan keeps")


def chosen(whole: normal.Normal, task: Task, keep: int, start: Tensor, rounds: int) -> Tensor:
    """Which entries of a layer's rows stay, ``(groups, outputs, n)``: ``keep`` weights, and every bias.

    Inputs are brought to one size first; ``values`` solves the equations near what was chosen last, ``left``
    is what choosing lost, added up, and the pull between them grows from round to round.
    """
    pulled = normal.ridge(whole, DAMPING, start)
    size = pulled.gram.diagonal(dim1=1, dim2=2).sqrt()
    strengths, base = torch.linalg.eigh((pulled.gram / size[:, :, None] / size[:, None]).float())
    aim = (pulled.cross / size[:, :, None]).float().transpose(1, 2)
    free = torch.zeros(start.shape, dtype=torch.bool, device=start.device)
    free[..., task.support.shape[1]:] = True  # type: ignore[union-attr]
    values = aim @ near(base, strengths)
    support = greatest(values, keep, free)
    picked, left, pull = values * support, torch.zeros_like(values), 0.1
    for step in range(rounds):
        if step % 3 == 0:
            solving = near(base, strengths + pull)
        values = left + (aim + pull * (picked - left)) @ solving
        before, support = support, greatest(values, keep, free)
        picked = values * support
        left = values - picked
        changed = int((before != support).sum()) / max(keep, 1)
        if changed == 0 and step > rounds // 2:
            break
        if step % 3 == 2:
            pull *= 1.3 if changed > 0.1 else 1.2 if changed > 0.005 else 1.1
    return support


def near(base: Tensor, strengths: Tensor) -> Tensor:
    """The inverse of a symmetric matrix from its eigenvectors (columns) and eigenvalues."""
    return (base / strengths[:, None]) @ base.transpose(1, 2)


def greatest(values: Tensor, keep: int, free: Tensor) -> Tensor:
    """The ``keep`` entries of greatest size among those that are not free, and the free ones."""
    support = free.flatten().clone()
    support[values.abs().masked_fill(free, -1).flatten().topk(keep, sorted=False).indices] = True
    return support.view(values.shape)
