"""Refit, then finetune: the best accuracy with labels and some minutes of training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateur.core.bounds import check_settings, kind
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.refit import Refit

_REFITTED = 8192
"""Samples for the refit, which more of them hardly improve, and which the training goes over again."""


@dataclass(frozen=True)
class BestFinetune(Recovery):
    """``gradual`` where weights or blocks are cut. Where neurons or N:M are, ``refit`` on the first 8,192 samples or
    so, then ``finetune`` on all of them; half of its loss is the divergence from the original network's outputs."""

    finetune: Finetune = Finetune(epochs=5, batch_size=256, lr=2e-3, distil=0.5)  # noqa: RUF009
    gradual: Gradual = Gradual()  # noqa: RUF009
    needs = frozenset({"data", "labels"})

    def __post_init__(self) -> None:
        check_settings("best-finetune", vars(self), finetune=kind(Finetune), gradual=kind(Gradual))

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where ``gradual`` does, and where ``refit`` does."""
        return self.gradual.chooses(kinds) or Refit().chooses(kinds)

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network, trained."""
        if self.gradual.chooses(context.granularities):
            return RecoveryResult(self.gradual.recover(context))
        refit = Refit().recover(replace(context, samples=context.data.first(_REFITTED)))
        return RecoveryResult(self.finetune.recover(replace(context, pruned=refit.network)), refit.rows, refit.notes)
