"""What the layers of a network read for samples: the ranges, in the order of the calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from secateur.core.errors import SecateurError
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.quantization.ranges import Observer


@dataclass(eq=False)
class Observed:
    """The layers that were called, in their order, with what each read; how often a batch calls each, and the most
    bytes that one call read.
    """

    observers: dict[str, Observer] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)


def observe(model: nn.Module, samples: Calibration, names: Collection[str], seed: int = 0) -> Observed:
    """Run a network on samples and look at the inputs of some of its layers; places of padding do not count.

    Raises:
        SecateurError: inputs of a layer are NaN or infinite.
    """
    found, batch_now = Observed(), list[Batch]()

    def see(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0]
            found.calls[name] = found.calls.get(name, 0) + 1
            found.bytes[name] = max(found.bytes.get(name, 1), x.nbytes)
            observer = found.observers.setdefault(name, Observer(seed))
            try:
                observer.see(x if isinstance(module, _ConvNd) or not x.is_floating_point() else batch_now[0].real(x))
            except SecateurError as error:
                raise SecateurError(f"layer '{name}': {error}") from error
        return hook

    handles = [model.get_submodule(name).register_forward_pre_hook(see(name)) for name in names]
    batches = 0
    try:
        with watch(model, {}), torch.no_grad():
            for batch in samples:
                batch_now[:] = [batch]
                call(model, batch)
                batches += 1
    finally:
        for handle in handles:
            handle.remove()
    found.calls = {name: round(count / max(batches, 1)) for name, count in found.calls.items()}
    return found
