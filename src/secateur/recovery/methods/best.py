"""Best: the recovery that wins most back without labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.measure.agreement import squared_distance
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.methods.recalibrate import Recalibrate
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct


@dataclass(frozen=True)
class Best(Recovery):
    """What measured best of all that needs no labels: ``rechoose`` where single weights are cut, else
    ``reconstruct``; where neurons are, ``recalibrate`` after it. Of these and of the cut network as it is, that is
    taken whose outputs for the samples are nearest to those of the original."""

    needs = frozenset({"data"})

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where single weights are cut."""
        return kinds == {"weight"}

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network, refitted where that brings it nearer."""
        kinds = frozenset(c.granularity or patient.plan.granularity for c in patient.plan.cuts)
        tried = [copy.deepcopy(patient.pruned)]
        tried.append((Rechoose() if self.chooses(kinds) else Reconstruct()).recover(patient))
        if "neuron" in kinds and any(isinstance(m, _BatchNorm) for m in tried[-1].modules()):
            tried.append(Recalibrate().recover(replace(patient, pruned=copy.deepcopy(tried[-1]))))
        return min(tried, key=lambda model: distance(model, patient))


def distance(model: nn.Module, patient: Patient) -> float:
    """The summed squared difference of a network's outputs from the original's, over the samples, padding left out."""
    assert patient.samples is not None
    return squared_distance(patient.original, model, patient.samples)
