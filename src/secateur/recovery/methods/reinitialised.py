"""Reinitialised: a control that keeps the structure of the cut network and trains new weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from secateur.core.bounds import check_settings, kind
from secateur.core.errors import UnsupportedError
from secateur.recovery.methods.base import Recovery, RecoveryContext
from secateur.recovery.methods.finetune import Finetune


@dataclass(frozen=True)
class Reinitialised(Recovery):
    """Draw all weights anew and train from scratch: after a cut of weights the same mask reinitialised
    (Frankle and Carbin, *The Lottery Ticket Hypothesis*, ICLR 2019), after a cut of neurons a dense network of
    the same size (Liu et al., *Rethinking the Value of Network Pruning*, ICLR 2019)."""

    training: Finetune = Finetune()  # noqa: RUF009
    needs = frozenset({"data", "labels"})
    control = True

    def __post_init__(self) -> None:
        check_settings("reinitialised", vars(self), training=kind(Finetune))

    def recover(self, context: RecoveryContext) -> nn.Module:
        """A network of the same structure, trained anew.

        Raises:
            UnsupportedError: a layer with parameters has no ``reset_parameters``.
        """
        with torch.random.fork_rng(devices=[]):
            # another seed, because the original may have been drawn from this one
            torch.manual_seed(context.seed + 1)
            for name, module in context.pruned.named_modules():
                if next(module.parameters(recurse=False), None) is not None:
                    _draw_anew(name, module)
        with torch.no_grad():
            for name, keep in context.masks.items():
                weight = context.pruned.get_parameter(name)
                weight.mul_(keep.to(weight.device))
        return self.training.recover(context)


def _draw_anew(name: str, module: nn.Module) -> None:
    """Draw the parameters of one module as its class does."""
    reset = getattr(module, "reset_parameters", None)
    if reset is None:
        raise UnsupportedError(f"control reinitialised: '{name}' is a {type(module).__name__} without "
                               "reset_parameters, so its weights cannot be initialised again")
    reset()
