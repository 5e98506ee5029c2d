"""Rewind: set the remaining weights to their earlier values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from secateur.core.bounds import check_settings, kind
from secateur.core.errors import SecateurError, failing
from secateur.graph import surgery
from secateur.recovery.methods.base import Recovery, RecoveryContext


@dataclass(frozen=True, eq=False)
class Rewind(Recovery):
    """Set the remaining parameters to the values that they had at an earlier point of training (Frankle et al.,
    *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, ICML 2020); train on with ``finetune``.

    Attributes:
        weights: the original network's state at that point, a ``state_dict`` or a safetensors file of it.
    """

    weights: Mapping[str, Tensor] | str | Path = field(default="")

    def __post_init__(self) -> None:
        check_settings("rewind", vars(self), weights=kind(Mapping, str, Path))

    def check(self) -> None:
        """Refuse to rewind to nothing."""
        if not isinstance(self.weights, Mapping) and not str(self.weights):
            raise SecateurError("recovery rewind needs the earlier weights: give Rewind(weights=...), a state_dict or "
                                "a safetensors file; got none")

    def recover(self, context: RecoveryContext) -> nn.Module:
        """The cut network with the earlier values.

        Raises:
            SecateurError: no weights were given, or they are another network's.
        """
        early, masks = self._read_weights(context), context.masks
        with torch.no_grad():
            for name, parameter in context.pruned.named_parameters():
                whole = surgery.slice_tensor(early[name], context.kept_units.get(name, {}))
                parameter.copy_(whole.masked_fill(~masks[name].to(whole.device), 0) if name in masks else whole)
        return context.pruned

    def _read_weights(self, context: RecoveryContext) -> Mapping[str, Tensor]:
        self.check()
        with failing(f"rewind: cannot read '{self.weights if not isinstance(self.weights, Mapping) else ''}'"):
            found = self.weights if isinstance(self.weights, Mapping) else safetensors.torch.load_file(self.weights)
        wrong = [n for n, p in context.original.named_parameters() if n not in found or found[n].shape != p.shape]
        if wrong:
            raise SecateurError(f"rewind: the earlier weights are from another network: '{wrong[0]}' is missing or of "
                                "another shape")
        return found
