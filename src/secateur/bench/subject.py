"""What is timed: a file of a pruned network or the path of a factory, and inputs for it."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur import files, models, registry
from secateur.apply import apply
from secateur.errors import SecateurError
from secateur.measure import tensors
from secateur.prune import plan
from secateur.record import sketched, steps

BUILT_IN = (1, 28, 28)
SEED = 0


@dataclass(frozen=True)
class Subject:
    """A network before and after its cut, named by plain values, so that any process can make both.

    Attributes:
        file: what ``sc.save`` or ``secateur prune`` wrote; empty where ``model`` alone is timed.
        model: a built-in network or ``pkg.module:factory``, the network before the cut.
        shape: of one sample, for random inputs; empty: that of the file's own example, or of a built-in network.
        classes: what a factory that asks for it is given.
        example: ``pkg.module:name`` of inputs, or of a function that makes them.
        weights: trained weights of ``model``, safetensors.
        sparsity: with ``model`` alone, the fraction of each layer's smallest weights that is cut from it.
    """

    file: str = ""
    model: str = ""
    shape: tuple[int, ...] = ()
    classes: int = 10
    example: str = ""
    weights: str = ""
    sparsity: float | None = None

    @classmethod
    def named(cls, what: str, **given: Any) -> Subject:
        """The subject that a command line names: a file that is there, else a model.

        Raises:
            SecateurError: neither, or flags that do not go together.
        """
        path = Path(what).expanduser()
        if path.is_file():
            if given.get("sparsity") is not None:
                raise SecateurError("--sparsity with a file: allowed with a model alone; the file's network is cut")
            return cls(file=str(path), **given)
        if ":" not in what and ("." in what or "/" in what):
            raise SecateurError(f"'{what}': there is no such file; allowed is a file of a pruned network, a built-in "
                                f"network ({', '.join(registry.files('models'))}) or pkg.module:factory")
        if given.get("model"):
            raise SecateurError(f"'{what}' with --model {given['model']}: allowed is --model beside a file")
        return cls(**given | {"model": what})

    def original(self) -> nn.Module | None:
        """The network before the cut, on the CPU; None where only the cut one is known.

        Its weights are those of ``weights``, else what the factory draws: torch's time does not depend on them.
        """
        return self.made() if self.model else None

    def pruned(self) -> nn.Module:
        """The network after the cut, on the CPU, in evaluation mode."""
        if self.file:
            given = models.example_of(self.example) if self.example else None
            if not self.model and not files.tell(self.file).runnable:
                raise SecateurError(f"'{self.file}' holds tensors and no graph to run: --model pkg.module:factory, the "
                                    "network as it was before the cut, says what to do with them")
            return files.load(self.file, self.made if self.model else None, given).cpu().eval()
        network = self.made()
        return network if self.sparsity is None else apply(network, plan(network, self.sparsity)).eval()

    def made(self) -> nn.Module:
        """What the model's factory makes, its random numbers the same each time."""
        torch.manual_seed(SEED)
        network = models.made(self.model, self.shape or BUILT_IN, self.classes).cpu()
        return (models.load_weights(network, self.weights) if self.weights else network).eval()

    def sample(self, network: nn.Module) -> tuple[Tensor, ...]:
        """Inputs of the network, some samples along the first axis of each.

        Raises:
            SecateurError: no shape is known, or an example of other things than tensors.
        """
        if self.example:
            found = models.example_of(self.example)
        elif (sides := self.shape or self.graph_shape()) or not steps(network):
            sides = sides or self.sides()
            found = torch.rand(64, *sides, generator=torch.Generator().manual_seed(SEED))
        else:
            found = sketched(steps(network)[0].example, torch.device("cpu"))
        inputs = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if not inputs or not all(isinstance(x, Tensor) and x.ndim for x in inputs):
            raise SecateurError(f"example '{self.example}': allowed is a tensor, or a tuple of them, with samples "
                                "along the first axis")
        return inputs

    def sides(self) -> tuple[int, ...]:
        """The shape of a sample of random inputs."""
        if self.model not in registry.files("models"):
            raise SecateurError(f"the inputs of '{self.model or self.file}' are not known: --shape 3,32,32 for random "
                                "ones, or --example pkg.module:name")
        return BUILT_IN

    def graph_shape(self) -> tuple[int, ...]:
        """The shape of a sample as the file's graph has it; empty without one, with several inputs, or open sizes."""
        runnable = self.file and files.tell(self.file).runnable
        found: tuple[int, ...] = getattr(files.load(self.file), "shape", ()) if runnable else ()
        return found


def batch_of(sample: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    """As many samples as asked for, those that are there over and over.

    >>> batch_of((torch.tensor([[1.0], [2.0]]),), 3)[0].flatten().tolist()
    [1.0, 2.0, 1.0]
    """
    return tuple(x[torch.arange(count) % len(x)].contiguous() for x in sample)


def cut_of(network: nn.Module) -> str:
    """What was cut: ``neuron``; ``weight`` where a tenth of some parameter of two axes or more is zero; or nothing."""
    if steps(network):
        return "neuron"
    layers = [p for p in network.parameters() if p.ndim > 1]
    return "weight" if any(10 * int(torch.count_nonzero(w)) <= 9 * w.numel() for w in layers) else ""


def filled(network: nn.Module) -> nn.Module:
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


def outputs_of(found: Any) -> list[Tensor]:
    """The tensors among a network's outputs, in order."""
    return [torch.as_tensor(leaf) for leaf in pytree.tree_leaves(found)]
