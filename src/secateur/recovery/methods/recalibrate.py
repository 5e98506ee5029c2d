"""Recalibrate: measure the means and variances of batch norms again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.data.forward import call, watch
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult

_NOTHING = ("recovery recalibrate: no batch norm of the network has a running mean and variance, so nothing was "
            "changed")


@dataclass(frozen=True)
class Recalibrate(Recovery):
    """Take the means and variances of batch norms from the cut network's own activations, averaged over the samples
    (as *Once-for-all*, Cai et al., ICLR 2020, does for its subnetworks). A network without batch norms stays as it is.
    """

    needs = frozenset({"data"})

    def recover(self, context: RecoveryContext) -> RecoveryResult:
        """The cut network with new statistics; weights stay as they are."""
        model = context.pruned
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not norms:
            return RecoveryResult(model, notes=(_NOTHING,))
        momenta = {norm: norm.momentum for norm in norms}
        try:
            with watch(model, {}), torch.no_grad():
                for norm in norms:
                    norm.reset_running_stats()
                    # without a momentum a norm gives the mean over all batches
                    norm.momentum = None
                    norm.train()
                for batch in context.data:
                    call(model, batch)
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum
        return RecoveryResult(model)
