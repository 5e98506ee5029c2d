"""Best, then finetune: what wins most back with labels and some minutes of training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from secateur.pruning.granularity.n_m import NM
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.methods.best import Best
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual, kinds

REFITTED = 8192
TRAINING = Finetune(epochs=5, batch_size=256, lr=2e-3, distil=0.5)


@dataclass(frozen=True)
class BestFinetune(Recovery):
    """``gradual`` where weights or blocks are cut. Where neurons are, or N:M, ``best`` on the first 8,192 samples or
    so, then ``finetune`` on all of them, half of whose loss is the divergence from the original network's outputs."""

    finetune: Finetune = TRAINING
    gradual: Gradual = Gradual()  # noqa: RUF009
    needs = frozenset({"data", "labels"})

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where ``gradual`` does, and where ``best`` does."""
        return self.gradual.chooses(kinds) or Best().chooses(kinds)

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network, trained."""
        assert patient.samples is not None
        if all(item.scored_as == "weight" and not isinstance(item, NM) for item in kinds(patient.plan)):
            return self.gradual.recover(patient)
        refitted = Best().recover(replace(patient, samples=patient.samples.first(REFITTED)))
        return self.finetune.recover(replace(patient, pruned=refitted))
