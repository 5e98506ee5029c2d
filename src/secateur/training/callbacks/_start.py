"""How a callback makes its pruner, and goes on with one that was saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateur.pruning.spec import PruningSpec
from secateur.training.pruner import Pruner


def begin(start: Any, spec: PruningSpec | None, model: nn.Module, optimizer: Optimizer,
          saved: Mapping[str, Any] | None) -> Pruner:
    """The pruner of a training that begins, or that goes on from what a pruner saved.

    Args:
        start: makes the pruner; with a spec the schedule alone.
        spec: what is cut how.
        model: the network, with the weights that it had when the pruner was saved.
        optimizer: its optimizer.
        saved: the pruner's state, of a training that is resumed.
    """
    # A pruner cuts when it is made, which is not what the saved one had cut: the weights are put back after that.
    weights = {} if saved is None else {name: p.detach().clone() for name, p in model.named_parameters()}
    pruner: Pruner = start(model, optimizer) if spec is None else Pruner(model, start, optimizer, spec=spec)
    if saved is not None:
        for name, value in weights.items():
            model.get_parameter(name).data.copy_(value)
        pruner.load_state_dict(saved)
        pruner.enforce()
    return pruner
