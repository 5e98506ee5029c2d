"""What a callback makes its pruner with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateur.pruning.spec import PruningSpec
from secateur.training.pruner import Pruner

Start = Callable[[nn.Module, Optimizer], Pruner]


def start_of(start: Any, spec: PruningSpec | None) -> Start:
    """The function that a caller gave, or with a spec one that makes a pruner of it and of the schedule given."""
    return partial(_start, start, spec) if spec is not None else start


def _start(schedule: Any, spec: PruningSpec, model: nn.Module, optimizer: Optimizer) -> Pruner:
    return Pruner(model, schedule, optimizer, spec=spec)
