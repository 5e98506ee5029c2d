"""What ``python benchmarks/accuracy.py --plan`` runs, in this order: the figures of docs/accuracy.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accuracy_methods import METHODS

GRIDS = {"weight": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99), "neuron": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}
MAIN = {"weight": ("magnitude", "magnitude + rechoose", "magnitude + reconstruct", "published SparseGPT",
                   "published Wanda", "torch.nn.utils.prune l1", "random"),
        "neuron": ("l2", "elimination + reconstruct", "cholesky + reconstruct", "Torch-Pruning magnitude",
                   "Torch-Pruning Taylor", "Torch-Pruning Hessian", "random")}
TRAINED = {"weight": ("gradual, 5 epochs (as tfmot)",),
           "neuron": ("elimination + reconstruct + 5 epochs", "Torch-Pruning Taylor + 5 epochs", "l2 + 5 epochs")}
AIMED = {"weight": (0.9, 0.95, 0.98), "neuron": (0.8, 0.9, 0.95)}
STEEP = {"weight": (0.8, 0.9, 0.95, 0.98, 0.99), "neuron": (0.8, 0.9, 0.95)}


@dataclass(frozen=True)
class Part:
    """Some cells of the table for one network, data set and seed."""

    model: str
    data: str
    seed: int
    granularity: str
    methods: tuple[str, ...]
    grid: tuple[float, ...]


def parts(model: str, data: str, methods: dict[str, tuple[str, ...]], grids: dict[str, tuple[float, ...]],
          seeds: int = 5) -> Iterator[Part]:
    """One part a seed and granularity."""
    for seed in range(seeds):
        for granularity, names in methods.items():
            yield Part(model, data, seed, granularity, names, grids[granularity])


def plan() -> Iterator[Part]:
    """All parts, the aims first."""
    yield from parts("mlp", "mnist", MAIN, AIMED)
    yield from parts("lenet-300-100", "mnist", MAIN, STEEP)
    yield from parts("mlp", "mnist", {"neuron": TRAINED["neuron"]}, {"neuron": (0.9, 0.95)}, seeds=1)
    yield from parts("lenet5", "mnist", MAIN, AIMED, seeds=2)
    yield from parts("mlp", "mnist", {"weight": TRAINED["weight"]}, {"weight": (0.98, 0.99)}, seeds=1)
    yield from parts("lenet-300-100", "mnist", MAIN, GRIDS)
    yield from parts("lenet-300-100", "fashion-mnist", MAIN, AIMED)
    yield from parts("mlp", "mnist", MAIN, STEEP)
    yield from parts("lenet-300-100", "mnist", untrained(), AIMED)
    yield from parts("mlp", "mnist", TRAINED, {"weight": (0.98, 0.99), "neuron": (0.9, 0.95)})
    yield from parts("mlp", "mnist", MAIN, GRIDS)
    yield from parts("lenet5", "mnist", MAIN, GRIDS)
    yield from parts("mlp", "fashion-mnist", MAIN, AIMED)
    yield from parts("lenet5", "fashion-mnist", MAIN, AIMED)
    yield from parts("lenet-300-100", "mnist", untrained(), GRIDS)


def untrained() -> dict[str, tuple[str, ...]]:
    """Every method that does not train."""
    return {granularity: tuple(name for name in methods if "epochs" not in name and "finetune" not in name)
            for granularity, methods in METHODS.items()}
