"""A network and data in, figures out: accuracy, loss, items, non-zeros, bytes, FLOPs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from secateur import graph
from secateur.graph.state import evaluating
from secateur.types import Target
from secateur.windows import same_modes


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One pass over labelled samples.

    ``loss`` is the mean cross-entropy in nats, ``accuracy`` in [0, 1]; ``predictions`` is int64 and
    ``correct`` bool, both of shape ``(samples,)``.
    """

    loss: float
    accuracy: float
    predictions: NDArray[np.int64]
    correct: NDArray[np.bool_]


def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch: int = 2000) -> Evaluation:
    """Evaluate a classifier on its own device; the loss is summed in float64.

    Args:
        model: gives logits of shape ``(samples, classes)``.
        x: inputs, ``(samples, ...)``; moved to the model's device a batch at a time.
        y: labels, int64 ``(samples,)``.
        batch: samples a call.
    """
    device = device_of(model)
    total, guesses = 0.0, []
    with same_modes(model), torch.inference_mode():
        model.eval()
        for inputs, labels in zip(x.split(batch), y.split(batch), strict=True):
            logits = model(inputs.to(device)).double()
            total += float(nn.functional.cross_entropy(logits, labels.to(device), reduction="sum"))
            guesses.append(logits.argmax(1).cpu())
    predictions = torch.cat(guesses)
    correct = predictions == y.cpu()
    return Evaluation(total / len(y), int(correct.sum()) / len(y), predictions.numpy(), correct.numpy())


def device_of(model: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU where it has none."""
    return next((t.device for ts in (model.parameters(), model.buffers()) for t in ts), torch.device("cpu"))


def nonzeros(model: nn.Module) -> dict[str, int]:
    """How many values of each parameter and buffer are not zero, under every name that it has."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    counts = {id(tensor): int(torch.count_nonzero(tensor)) for _, tensor in tensors(model)}
    return {name: counts[id(tensor)] for name, tensor in named}


def tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters and buffers with their names, shared ones once."""
    return [*model.named_parameters(), *model.named_buffers()]


def size(model: nn.Module, counts: dict[str, int] | None = None) -> dict[str, int]:
    """Parameters, non-zeros, and bytes of all parameters and buffers.

    ``bytes`` is the dense storage; ``bytes_sparse`` takes for each tensor the smallest of dense, a
    bitmask with the non-zero values, and compressed sparse rows with 32-bit indices. ``counts`` is
    what :func:`nonzeros` gave, where it is known.

    >>> size(nn.Linear(8, 4, bias=False))["parameters"]
    32
    """
    counts = nonzeros(model) if counts is None else counts
    names = [name for name, _ in model.named_parameters()]
    return {"parameters": sum(p.numel() for p in model.parameters()),
            "nonzeros": sum(counts[name] for name in names),
            "bytes": sum(t.numel() * t.element_size() for _, t in tensors(model)),
            "bytes_sparse": sum(sparse_bytes(t, counts[name]) for name, t in tensors(model))}


def sparse_bytes(tensor: Tensor, nonzeros: int) -> int:
    """The fewest bytes that hold a tensor: dense, bitmask + values, or CSR.

    >>> sparse_bytes(torch.eye(64), 64)
    768
    """
    item, n = tensor.element_size(), tensor.numel()
    rows = tensor.shape[0] if tensor.ndim > 1 else 1
    return min(n * item, math.ceil(n / 8) + nonzeros * item, nonzeros * (item + 4) + 4 * (rows + 1))


@dataclass(frozen=True)
class Work:
    """The arithmetic of one forward pass.

    ``flops`` counts two for every multiply-add of the matrix products, convolutions and attention
    products that torch's own counter knows; ``positions`` says for each target how often each of
    its weights is used.
    """

    flops: int
    positions: dict[str, int]

    def nonzero_flops(self, model: nn.Module, counts: dict[str, int] | None = None) -> int:
        """The FLOPs without those that multiply by a zero weight; ``counts`` as in :func:`size`."""
        counts = nonzeros(model) if counts is None else counts
        return self.flops - sum(2 * times * (model.get_parameter(name).numel() - counts[name])
                                for name, times in self.positions.items())


def work(model: nn.Module, example: Any) -> Work:
    """Count the FLOPs of one forward pass of ``example``, whose batch should be 1.

    Zeros in the weights of recurrent layers are not taken off: how often torch uses them is not seen from outside.
    """
    positions: dict[str, int] = {}
    hooks = [model.get_submodule(t.module).register_forward_hook(_count(t, positions)) for t in graph.targets(model)
             if t.kind != "recurrent"]
    try:
        with evaluating(model), FlopCounterMode(display=False) as counter, torch.no_grad():
            args, kwargs = pytree.tree_map(partial(moved, device=device_of(model)), graph.inputs(example))
            model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(counter.get_total_flops(), positions)


def _count(target: Target, positions: dict[str, int]) -> Any:
    """A hook that adds how often each weight of a layer is used: once for every place of an output unit
    (of an input unit where the convolution is transposed)."""
    transposed = "transpose" in target.kind
    units = target.shape[target.axes.index("in" if transposed else "out")]

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = (inputs[0] if transposed else output).numel() // units
        positions[target.name] = positions.get(target.name, 0) + places

    return hook


def moved(value: Any, device: torch.device) -> Any:
    """A tensor on a device; anything else as it is."""
    return value.to(device) if isinstance(value, Tensor) else value
