"""Runs a network on a batch, in evaluation mode and with hooks where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from secateur.core.errors import failing
from secateur.core.modules import device_of, same_modes
from secateur.data.batch import Batch

_PAIRS = "a pair is (inputs, labels); several inputs are a tuple, ((first, second), labels), labels may be None"


class Seen(Exception):  # noqa: N818
    """A hook raises it when it has seen all that was asked for, so that the rest of the network is not run."""


@contextmanager
def watch(model: nn.Module, hooks: dict[str, Any]) -> Iterator[None]:
    """Evaluation mode with forward hooks on named modules, for the length of a block.

    A hook takes the module, its inputs and its output.
    """
    handles = [model.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    with same_modes(model):
        try:
            model.eval()
            yield
        finally:
            for handle in handles:
                handle.remove()


def call(model: nn.Module, batch: Batch) -> Any:
    """The outputs of a network for a batch, on the network's device; ``None`` where a hook had seen enough.

    Raises:
        SecateurError: the network does not run on the batch.
    """
    device = device_of(model)
    with failing(f"data: the network does not run on a batch of {batch}", _PAIRS if batch.labels is not None else ""):
        try:
            args, kwargs = batch.to(device, copy=True).arguments  # a network may write over its inputs
            return model(*args, **kwargs)
        except Seen:
            return None
