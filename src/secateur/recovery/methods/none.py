"""None: the cut network as it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from secateur.recovery.methods.base import Recovery, RecoveryContext


@dataclass(frozen=True)
class Nothing(Recovery):
    """Do nothing after the cut."""

    def recover(self, context: RecoveryContext) -> nn.Module:
        """The cut network."""
        return context.pruned
