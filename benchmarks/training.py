"""Pruning while training, at the sparsities of the literature: LeNet-300-100, LeNet-5, and the study's MLP.

    python benchmarks/training.py [--only lenet-300-100,lenet5,mlp] [--seeds 0,1,2]

Every finished run is added to benchmarks/results/training.json at once; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from secateur.data import resolve
from secateur.data.base import Dataset
from secateur.machine import machine
from secateur.measure import evaluate
from secateur.models import resolve as make_model
from secateur.schedules import Exponential
from secateur.train import train
from secateur.training import Pruner, fit, steps_of

CACHE = Path.home() / ".cache" / "secateur" / "accuracy"
RESULTS = Path(__file__).parent / "results" / "training.json"


@dataclass(frozen=True)
class Recipe:
    """One way to train a network sparse: from scratch, or from the study's trained network.

    ``begin`` and ``end`` of the cutting and ``hold`` of the learning rate are fractions of the training. ``shifted``
    copies of the images, each moved by up to two pixels, are added to the training data.
    """

    model: str
    sparsity: float
    epochs: int
    lr: float
    l1: float
    begin: float
    end: float
    hold: float
    batch_size: int = 128
    scratch: bool = True
    shifted: int = 0


RECIPES = (
    Recipe("lenet-300-100", 0.985, epochs=35, lr=2e-3, l1=2e-5, begin=0.1, end=0.7, hold=0.6),
    Recipe("lenet5", 0.996, epochs=4, lr=2e-3, l1=1e-5, begin=0.1, end=0.7, hold=0.6, shifted=2),
    Recipe("mlp", 0.98, epochs=5, lr=1e-3, l1=2e-6, begin=0.0, end=0.6, hold=0.4, scratch=False),
    Recipe("mlp", 0.99, epochs=5, lr=1e-3, l1=2e-6, begin=0.0, end=0.6, hold=0.4, scratch=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="lenet-300-100,lenet5,mlp")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    wanted = [r for r in RECIPES if r.model in options.only.split(",")]
    for seed in map(int, options.seeds.split(",")):
        for recipe in wanted:
            if not any(row["seed"] == seed and row["recipe"] == asdict(recipe) for row in read()["rows"]):
                add(run(recipe, seed))


def read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"machine": machine(), "rows": []}


def add(row: dict[str, Any]) -> None:
    """Put a run into the file; another process may have added its own meanwhile."""
    found = read()
    rows = sorted([*found["rows"], row], key=lambda r: (r["recipe"]["model"], r["recipe"]["sparsity"], r["seed"]))
    RESULTS.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")
    print(json.dumps({k: v for k, v in row.items() if k != "layers"}), flush=True)


def run(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one network sparse and evaluate it on the test set, errors in percent."""
    data, start, used = enlarged(resolve("mnist"), recipe.shifted, seed), perf_counter(), process_time()
    torch.manual_seed(seed)
    model = make_model(recipe.model, data.shape, data.classes).to(memory_format=torch.channels_last)
    if not recipe.scratch:
        model.load_state_dict(studied(recipe.model, seed))
    dense = None if recipe.scratch else error(model, data)
    total = steps_of(data, recipe.epochs, recipe.batch_size)
    schedule = Exponential(recipe.sparsity, begin=round(recipe.begin * total), end=round(recipe.end * total), every=100)
    pruner = fit(model, data, recipe.epochs, lambda net, optimizer: Pruner(net, schedule, optimizer, scope="global"),
                 lr=recipe.lr, batch_size=recipe.batch_size, hold=recipe.hold, l1=recipe.l1, seed=seed,
                 on_epoch=lambda epoch, pruner: tell(recipe, seed, epoch, pruner, data))
    assert pruner is not None
    sparse = pruner.finish()
    return {"recipe": asdict(recipe), "seed": seed, "dense_error": dense, "error": error(sparse, data),
            "reached": pruner.reached, "layers": pruner.summary(), "cpu_seconds": process_time() - used,
            "seconds": perf_counter() - start, "threads": torch.get_num_threads()}


def enlarged(data: Dataset, copies: int, seed: int) -> Dataset:
    """The data with shifted copies of the training images: each moved by -2 to 2 pixels both ways, edges black."""
    draws, images, labels = torch.Generator().manual_seed(seed), [data.train_x], [data.train_y]
    padded = torch.nn.functional.pad(data.train_x, (2, 2, 2, 2))
    height, width = data.shape[-2:]
    for _ in range(copies):
        moves = torch.randint(25, (len(padded),), generator=draws)
        moved = torch.empty_like(data.train_x)
        for move in range(25):
            rows, columns = divmod(move, 5)
            here = moves == move
            moved[here] = padded[here][..., rows:rows + height, columns:columns + width]
        images, labels = [*images, moved], [*labels, data.train_y]
    return replace(data, train_x=torch.cat(images), train_y=torch.cat(labels))


def studied(name: str, seed: int) -> dict[str, torch.Tensor]:
    """The weights of a network as the study trains it: Adam, five epochs; kept with those of accuracy.py."""
    path = CACHE / f"{name}-mnist-{seed}-e5.safetensors"
    if not path.exists():
        data = resolve("mnist")
        torch.manual_seed(seed)
        model = make_model(name, data.shape, data.classes)
        train(model, data, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), path)
    return load_file(path)


def error(model: torch.nn.Module, data: Any) -> float:
    return round(100 * (1 - evaluate(model, data.test_x, data.test_y).accuracy), 4)


def tell(recipe: Recipe, seed: int, epoch: int, pruner: Pruner | None, data: Any) -> None:
    if pruner is not None:
        print(f"{recipe.model} {recipe.sparsity} seed {seed} epoch {epoch}: sparsity {pruner.reached:.4f}, "
              f"test error {error(pruner.model, data):.2f} %", flush=True)


if __name__ == "__main__":
    main()
