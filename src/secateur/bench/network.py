"""What is timed: a file of a pruned network or the path of a factory, and inputs for it."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.measure.size import has_zeroed_weights, tensors
from secateur.models import example_inputs, resolve
from secateur.models.loaders.base import Source
from secateur.pruning.apply import apply
from secateur.pruning.history import steps
from secateur.pruning.plan import plan

SEED = 0


@dataclass(frozen=True)
class Subject:
    """A network before and after its cut, named by plain values, so that any process can make both.

    Attributes:
        file: what ``sc.save`` or ``secateur prune`` wrote; empty where ``model`` alone is timed.
        model: any network that ``secateur prune`` takes, as it was before the cut.
        shape: of one sample, for random inputs, or how many tokens; empty: that of the network's own example.
        classes: what a factory that asks for it is given; 0: 10, or what the network has of itself.
        example: ``pkg.module:name`` of inputs, or of a function that makes them.
        weights: trained weights of ``model``, safetensors.
        sparsity: with ``model`` alone, the fraction of each layer's smallest weights that is cut from it.
        trust: whether who made the file is known, where it is a program.
        data: samples, as ``secateur prune`` takes them: they are timed, ranges of int8 are taken from them, and
            outputs in less than float32 are compared on them. Empty: the example, or random inputs.
    """

    file: str = ""
    model: str = ""
    shape: tuple[int, ...] = ()
    classes: int = 0
    example: str = ""
    weights: str = ""
    sparsity: float | None = None
    trust: bool = False
    data: str = ""

    @classmethod
    def parse(cls, what: str, **given: Any) -> Subject:
        """The subject that a command line names: a file that secateur wrote, else a network.

        Raises:
            SecateurError: neither, or flags that do not go together.
        """
        if path := resolve.file_named(what):
            if given.get("sparsity") is not None:
                raise SecateurError("--sparsity with a file: allowed with a model only, as the file's network is "
                                    "already cut")
            return cls(file=str(path), **given)
        if given.get("model"):
            raise SecateurError(f"'{what}' with --factory {given['model']}: --factory is allowed with a file only")
        return cls(**given | {"model": what})

    @property
    def name(self) -> str:
        """What it is called."""
        return self.file or self.model

    @cached_property
    def options(self) -> Options:
        """What is said of the network besides its name."""
        return Options(weights=self.weights, example=self.example, shape=self.shape, classes=self.classes,
                       trust=self.trust)

    @cached_property
    def source(self) -> Source:
        """Where the network comes from.

        Raises:
            SecateurError: it cannot be read.
        """
        if self.file:
            return resolve.cut_file(Path(self.file), self.model, self.options)
        return resolve.find(self.model, self.options)

    def original(self) -> nn.Module | None:
        """The network before the cut, on the CPU; None where only the cut one is known.

        Its weights are its own, else what the factory draws, the same each time: torch's time does not depend on them.
        """
        make = self.source.original or (None if self.file else self.source.make)
        return ready(make) if make else None

    def pruned_network(self) -> nn.Module:
        """The network after the cut, on the CPU, in evaluation mode."""
        network = ready(self.source.make)
        if self.sparsity is None:
            return network
        return apply(network, plan(network, self.sparsity, skip=())).eval()

    def sample(self, network: nn.Module) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
        """Inputs of the network, some samples along the first axis of each, and their names where it takes them so.

        Raises:
            SecateurError: no shape is known, or an example of other things than tensors.
        """
        example = example_inputs.example_for(network, self.source, self.options, self.name)
        return example_inputs.tensors_and_names(example, self.name)


def ready(make: Callable[[], nn.Module]) -> nn.Module:
    """A network in evaluation mode on the CPU, its random numbers the same each time."""
    torch.manual_seed(SEED)
    np.random.seed(SEED)
    random.seed(SEED)
    return make().cpu().eval()


def cut_of(network: nn.Module) -> str:
    """What was cut: ``neuron``; ``weight`` where a tenth of some parameter of two axes or more is zero; or nothing."""
    if steps(network):
        return "neuron"
    return "weight" if has_zeroed_weights(network) else ""


def fill_zeros(network: nn.Module) -> nn.Module:
    """A copy with small random numbers where there are zeros: a dense network of the same shapes."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        whole = copy.deepcopy(network)
        for _, tensor in tensors(whole):
            if tensor.is_floating_point() and tensor.ndim > 1:
                noise = torch.randn(tensor.shape, generator=generator).mul_(1e-3).to(tensor.dtype)
                tensor.copy_(torch.where(tensor == 0, noise, tensor))
    return whole


def outputs_of(outputs: Any) -> list[Tensor]:
    """The tensors among a network's outputs, in order."""
    return [torch.as_tensor(leaf) for leaf in pytree.tree_leaves(outputs)]
