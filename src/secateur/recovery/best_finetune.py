"""Best, then finetune: refit without labels first, then train."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from secateur.recovery.base import Patient, Recovery
from secateur.recovery.best import Best
from secateur.recovery.finetune import Finetune

REFITTED = 8192
TRAINING = Finetune(epochs=5, batch_size=256, lr=2e-3, distil=0.5)


@dataclass(frozen=True)
class BestFinetune(Recovery):
    """``best`` on the first 8,192 samples or so, then ``finetune`` on all of them, half of whose loss is the
    divergence from the original network's outputs."""

    finetune: Finetune = TRAINING
    needs = frozenset({"data", "labels"})

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network, refitted and trained."""
        assert patient.samples is not None
        refitted = Best().recover(replace(patient, samples=patient.samples.first(REFITTED)))
        return self.finetune.recover(replace(patient, pruned=refitted))
