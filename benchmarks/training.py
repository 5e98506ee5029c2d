"""Pruning while training, at the sparsities of the literature: LeNet-300-100, LeNet-5, and the study's MLP.

    python benchmarks/training.py [--only lenet-300-100,lenet5,mlp] [--seeds 0,1,2,3,4]

Every finished run is added to benchmarks/results/training.json at once; what is there is not run again. The study's
networks, and what ``recovery="best-finetune"`` makes of them, are those of accuracy.py and kept in its cache.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

import torch
from accuracy import Case, done, keep, key, measured
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import secateur as sc
from secateur.core.machine import machine
from secateur.data import resolve
from secateur.data.datasets.base import Dataset
from secateur.measure.accuracy import evaluate
from secateur.models import build as make_model
from secateur.training import Pruner, fit, steps_of
from secateur.training.schedules import Exponential

RESULTS = Path(__file__).parent / "results" / "training.json"
REFITTED = 8192


@dataclass(frozen=True)
class Recipe:
    """One way to train a network sparse with :func:`secateur.training.fit`.

    ``begin`` and ``end`` of the cutting and ``hold`` of the learning rate are fractions of the training. ``scratch``:
    from new weights, not from the study's trained network. ``moved`` copies of the images, each shifted, turned and
    scaled a little, are added to the training data; an epoch goes through all of them. With ``dense`` epochs the
    network is trained whole on these first, at ``dense_lr`` where it is not 0; then it is the teacher, the hidden
    layers are brought to ``widths`` units, trained for ``warm`` epochs, and then lose weights, by the ``scope`` or down
    to ``left`` in each layer.
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
    granularity: str = "weight"
    moved: int = 0
    dense: int = 0
    widths: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    warm: int = 0
    temperature: float = 2.0
    share: float = 0.5
    scope: str = "global"
    dense_lr: float = 0.0


@dataclass(frozen=True)
class Recovered:
    """The study's trained network, cut and recovered in one call: a method of accuracy.py."""

    model: str
    sparsity: float
    granularity: str
    method: str
    epochs: int = 5


LENET5 = Recipe("lenet5", 0.996, epochs=15, lr=1.5e-2, l1=1e-5, begin=0.1, end=0.5, hold=0.4, batch_size=256,
                scratch=False, moved=5, dense=1, widths=(8, 16, 40), scope="lamp", dense_lr=3e-3)
WEIGHTS, NEURONS = "best-finetune", "elimination + reconstruct + 5 epochs"
RECIPES: tuple[Recipe | Recovered, ...] = (
    Recipe("lenet-300-100", 0.985, epochs=35, lr=2e-3, l1=2e-5, begin=0.1, end=0.7, hold=0.6),
    LENET5, replace(LENET5, epochs=25), replace(LENET5, epochs=9),
    Recovered("mlp", 0.98, "weight", WEIGHTS),
    Recovered("mlp", 0.99, "weight", WEIGHTS),
    Recovered("mlp", 0.90, "neuron", NEURONS),
    Recovered("mlp", 0.95, "neuron", NEURONS),
    Recipe("mlp", 0.80, epochs=5, lr=1e-3, l1=0.0, begin=0.0, end=0.6, hold=0.4, scratch=False, granularity="neuron"),
    Recipe("mlp", 0.90, epochs=5, lr=1e-3, l1=0.0, begin=0.0, end=0.6, hold=0.4, scratch=False, granularity="neuron"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="lenet-300-100,lenet5,mlp")
    parser.add_argument("--granularity", default="weight,neuron")
    parser.add_argument("--kind", default="recipe,recovered")
    parser.add_argument("--sparsity", type=float)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    options = parser.parse_args()
    wanted = [r for r in RECIPES if r.model in options.only.split(",") and r.granularity in options.granularity
              and type(r).__name__.lower() in options.kind and options.sparsity in (None, r.sparsity)
              and options.epochs in (None, r.epochs)]
    for seed in map(int, options.seeds.split(",")):
        for recipe in wanted:
            if not any(row["seed"] == seed and row["recipe"] == settings(recipe) for row in read()["rows"]):
                add(recovered(recipe, seed) if isinstance(recipe, Recovered) else run(recipe, seed))


def settings(recipe: Recipe | Recovered) -> dict[str, Any]:
    """A recipe as the file holds it."""
    return json.loads(json.dumps(asdict(recipe)))


def read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}


def add(row: dict[str, Any]) -> None:
    """Put a run into the file; another process may have added its own meanwhile."""
    row = {**row, "machine": machine()["cpu"]}
    rows = sorted([*read()["rows"], row], key=lambda r: (r["recipe"]["model"], r["recipe"]["granularity"],
                                                         r["recipe"]["sparsity"], str(r["recipe"]), r["seed"]))
    RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(json.dumps({k: v for k, v in row.items() if k != "layers"}), flush=True)


def recovered(recipe: Recovered, seed: int) -> dict[str, Any]:
    """What accuracy.py measured, or measures now."""
    case = Case(recipe.model, "mnist", seed)
    asked = {"model": recipe.model, "data": "mnist", "seed": seed, "granularity": recipe.granularity,
             "method": recipe.method, "sparsity": recipe.sparsity}
    if key(asked) not in done():
        keep(measured(case, recipe.granularity, recipe.method, recipe.sparsity))
    row = done()[key(asked)]
    return {"recipe": settings(recipe), "seed": seed, "dense_error": error(case.network, case.source),
            "error": round(100 * (1 - row["accuracy"]), 4), "nonzeros": row["nonzeros"],
            "cpu_seconds": row["cpu_seconds"]}


def run(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one network sparse and evaluate it on the test set, errors in percent."""
    data, used = enlarged(resolve("mnist"), recipe.moved, seed), process_time()
    torch.manual_seed(seed)
    model = make_model(recipe.model, data.shape, data.classes).to(memory_format=torch.channels_last)
    if not recipe.scratch:
        model.load_state_dict(Case(recipe.model, "mnist", seed).network.state_dict())
    if recipe.dense:
        fit(model, data, recipe.dense, lr=recipe.dense_lr or recipe.lr, batch_size=recipe.batch_size, seed=seed)
    dense = error(model, data) if recipe.dense or not recipe.scratch else None
    pruner = pruned(recipe, model, data, seed)
    sparse = pruner.finish()
    return {"recipe": settings(recipe), "seed": seed, "dense_error": dense, "error": error(sparse, data),
            "reached": pruner.reached if recipe.granularity == "neuron" else 1 - left(sparse) / weights(model),
            "layers": pruner.summary(), "cpu_seconds": process_time() - used}


def pruned(recipe: Recipe, model: nn.Module, data: Dataset, seed: int) -> Pruner:
    """The network, or what is left of it once its layers are narrow, cut while it trains."""
    keep, teacher = round((1 - recipe.sparsity) * weights(model)), model if recipe.dense else None
    model = narrowed(model, recipe, data, seed) if recipe.widths else model
    target = recipe.sparsity if recipe.granularity == "neuron" else 1 - keep / weights(model)
    total = steps_of(data, recipe.epochs, recipe.batch_size)
    schedule = Exponential(target, begin=round(recipe.begin * total), end=round(recipe.end * total), every=100)
    pruner = fit(model, data, recipe.epochs, lambda net, optimizer: Pruner(net, schedule, optimizer, **choices(
        recipe, net, data)), teacher=teacher, lr=recipe.lr, batch_size=recipe.batch_size, hold=recipe.hold,
        l1=recipe.l1, temperature=recipe.temperature, share=recipe.share, seed=seed,
        on_epoch=lambda epoch, pruner: tell(recipe, seed, epoch, pruner, data))
    assert pruner is not None
    return pruner


def choices(recipe: Recipe, model: nn.Module, data: Dataset) -> dict[str, Any]:
    """What the pruner is to cut, and where from."""
    if recipe.granularity == "neuron":
        return {"granularity": "neuron", "example": data.test_x[:1]}
    if not recipe.left:
        return {"scope": recipe.scope, "skip": ()}
    return {"layers": {t.module: 1 - n / math.prod(t.shape)
                       for t, n in zip(sc.targets(model).targets, recipe.left, strict=True)}, "skip": ()}


def narrowed(model: nn.Module, recipe: Recipe, data: Dataset, seed: int) -> nn.Module:
    """The network with so many units left in each hidden layer, trained a little to do what the whole one did."""
    groups = [g for g in sc.targets(model, data.test_x[:1]).groups if g.cuttable]
    layers = {g.name: 1 - width / g.units for g, width in zip(groups, recipe.widths, strict=True)}
    small = sc.prune(model, 0.5, granularity="neuron", data=data.train_x[:REFITTED], layers=layers, seed=seed)
    small = small.to(memory_format=torch.channels_last)
    if recipe.warm:
        fit(small, data, recipe.warm, teacher=model, lr=recipe.dense_lr or recipe.lr, batch_size=recipe.batch_size,
            temperature=recipe.temperature, share=recipe.share, seed=seed)
    return small


def weights(model: nn.Module) -> int:
    """How many weights could be cut."""
    return sum(math.prod(target.shape) for target in sc.targets(model).targets)


def left(model: nn.Module) -> int:
    """How many of them are not zero."""
    return sum(int(model.get_parameter(target.name).count_nonzero()) for target in sc.targets(model).targets)


def enlarged(data: Dataset, copies: int, seed: int) -> Dataset:
    """The data with copies of the training images, each shifted by up to 1.5 pixels, turned by up to eight degrees and
    scaled by up to eight percent."""
    draws = torch.Generator().manual_seed(seed)
    images = [data.train_x, *(moved(data.train_x, draws) for _ in range(copies))]
    return replace(data, train_x=torch.cat(images), train_y=data.train_y.repeat(copies + 1))


def moved(x: Tensor, draws: torch.Generator) -> Tensor:
    """Images ``(n, c, h, w)``, each moved by its own draw; what comes from outside is black."""
    def draw(*shape: int) -> Tensor:
        return torch.rand(len(x), *shape, generator=draws) * 2 - 1

    angle, scale, shift = draw() * math.radians(8), 1 + draw() * 0.08, draw(2, 1) * 3 / x.shape[-1]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    grid = F.affine_grid(torch.cat([scale[:, None, None] * turn, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def error(model: nn.Module, data: Any) -> float:
    return round(100 * (1 - evaluate(model, data.test_x, data.test_y).accuracy), 4)


def tell(recipe: Recipe, seed: int, epoch: int, pruner: Pruner | None, data: Any) -> None:
    if pruner is not None:
        print(f"{recipe.model} {recipe.sparsity} seed {seed} epoch {epoch}: sparsity {pruner.reached:.4f}, "
              f"test error {error(pruner.model, data):.2f} %", flush=True)


if __name__ == "__main__":
    main()
