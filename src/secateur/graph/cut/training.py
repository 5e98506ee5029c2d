"""Train mode after a cut: code that only training runs may remember sizes too."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from secateur.core.errors import CutGraphWarning, readable
from secateur.core.module_state import same_random_numbers
from secateur.core.tensors import tensors_in
from secateur.graph.capture import FlatGraph
from secateur.graph.example import double_batch
from secateur.graph.proof.float64 import eager_tensors


class Training:
    """Runs copies in train mode: the original once, on the example or on it twice over, and cut networks beside it."""

    def __init__(self, model: nn.Module, graph: FlatGraph):
        self._example, self._shapes = _find_example(model, graph)

    def failure(self, small: nn.Module) -> str:
        """Why a cut network, its tensors in float64, does not run in train mode where the original does; "" if it does.

        What runs is a copy that shares the parameters: they are perturbed, and filled anew after the proofs.
        """
        if self._example is None:
            return ""
        try:
            with same_random_numbers():
                got = [tuple(t.shape) for t in eager_tensors(training_copy(small), *self._example)]
        except Exception as error:
            return readable(error)
        return "" if got == self._shapes else f"outputs of {got}, wanted {self._shapes}"


def _find_example(model: nn.Module, graph: FlatGraph) -> tuple[Any, list[Any]]:
    """Inputs on which a copy of the original runs in train mode, none if there are none, and the shapes that it gives.
    """
    # A batch norm in train mode refuses a batch of one; the example twice over is one that it takes.
    first = graph.args, graph.kwargs
    for example in (first, double_batch(first)):
        try:
            with same_random_numbers(), torch.no_grad():
                args, kwargs = copy.deepcopy(example)
                outputs = training_copy(model)(*args, **kwargs)
                return example, [tuple(t.shape) for t in tensors_in(outputs)]
        except Exception:
            continue
    return None, []


def training_copy(model: nn.Module) -> nn.Module:
    """A copy of a network in train mode that shares its parameters; a cut graph, which has no such mode, is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutGraphWarning)
        return copy.deepcopy(model, {id(p): p for p in model.parameters()}).train()
