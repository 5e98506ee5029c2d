"""A classifier and labelled samples in, accuracy and loss out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.core.modules import device_of, same_modes


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
