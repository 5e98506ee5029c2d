"""Best: the recovery that wins most back without labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from secateur.recovery.base import Patient, Recovery
from secateur.recovery.recalibrate import Recalibrate
from secateur.recovery.rechoose import Rechoose
from secateur.recovery.reconstruct import Reconstruct


@dataclass(frozen=True)
class Best(Recovery):
    """What measured best of all that needs no labels: ``rechoose`` where single weights are cut, else
    ``reconstruct``; where neurons are, ``recalibrate`` after it."""

    needs = frozenset({"data"})

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network, refitted."""
        kinds = {getattr(c, "granularity", "") or patient.plan.granularity for c in patient.plan.cuts}
        if kinds == {"weight"}:
            return Rechoose().recover(patient)
        refitted = Reconstruct().recover(patient)
        return Recalibrate().recover(patient) if "neuron" in kinds else refitted
