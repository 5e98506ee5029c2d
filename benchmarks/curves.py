"""Accuracy against neurons cut, for the two networks on 32x32 images: trains, cuts, draws, writes the figures.

    python benchmarks/curves.py --runs runs/curves --seeds 3 [--models resnet20,vit-tiny]

The images are a part of Fashion-MNIST, a border of zeros around them. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import secateur as sc
from secateur import graph
from secateur.core import registry
from secateur.data.calibration import calibration
from secateur.data.datasets.fashion_mnist import FashionMnist
from secateur.measure.accuracy import evaluate
from secateur.pruning.selection import Selection
from secateur.pruning.spec import PruningSpec
from secateur.recovery.pipeline import recover, recoveries

matplotlib.use("Agg")
HERE = Path(__file__).parent
TRAINED = {"resnet20": {"epochs": 5, "lr": 5e-3}, "vit-tiny": {"epochs": 10, "lr": 2e-3}}
WAYS = {"elimination + best": ("elimination", "best", "C2", "-"), "l2": ("l2", "none", "C0", "-"),
        "random": ("random", "none", "C7", "--")}
GRID = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
TRAIN, TEST, CALIBRATION, BATCH = 3000, 1000, 256, 64
Data = tuple[Tensor, Tensor, Tensor, Tensor]


def images() -> Data:
    """The first images of Fashion-MNIST, two pixels of zero on every side: train and test, each with its labels."""
    found = FashionMnist().load()
    train, test = (F.pad(x, (2, 2, 2, 2)) for x in (found.train_x[:TRAIN], found.test_x[:TEST]))
    return train, found.train_y[:TRAIN], test, found.test_y[:TEST]


def trained(model: str, seed: int, data: Data, folder: Path) -> nn.Module:
    """A network trained with Adam, its step size rising and falling in one cycle; read back where it was kept."""
    torch.manual_seed(seed)
    net = registry.get("models", model)(tuple(data[0].shape[1:]), 10)
    kept, epochs = folder / f"{model}-{seed}.safetensors", int(TRAINED[model]["epochs"])
    if kept.exists():
        net.load_state_dict(load_file(kept))
        return net.eval()
    optimizer = torch.optim.Adam(net.parameters())
    steps = -(-TRAIN // BATCH) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TRAINED[model]["lr"], total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(TRAIN).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(data[0][batch]), data[1][batch]).backward()
            optimizer.step()
            schedule.step()
    save_file(net.state_dict(), kept)
    return net.eval()


def points(model: str, seed: int, data: Data, folder: Path) -> Iterator[dict[str, Any]]:
    """The accuracy of one network for every way and sparsity; what the folder holds is not computed again."""
    kept = folder / f"{model}-{seed}.jsonl"
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    yield from known
    missing = [(w, s) for w in WAYS for s in GRID if (w, s) not in {(p["way"], p["sparsity"]) for p in known}]
    if not missing:
        return
    net, example = trained(model, seed, data, folder), data[0][:2]
    structure, samples = graph.trace(net, example), calibration(data[0][:CALIBRATION])
    for way in dict.fromkeys(w for w, _ in missing):
        criterion, recovery, _, _ = WAYS[way]
        spec = PruningSpec(granularity="neuron", criterion=criterion, seed=seed)
        chosen = Selection(net, spec, example=example, structure=structure, samples=samples)
        for sparsity in (s for w, s in missing if w == way):
            made = chosen.plan(sparsity)
            small = recover(net, sc.apply(net, made), made, recoveries(recovery), samples,
                            seed).network if sparsity else net
            point = {"way": way, "sparsity": sparsity, "seed": seed,
                     "left": sum(p.numel() for p in small.parameters()) / sum(p.numel() for p in net.parameters()),
                     "accuracy": evaluate(small, data[2], data[3], 100).accuracy}
            with kept.open("a") as file:
                file.write(json.dumps(point) + "\n")
            yield point


def swept(model: str, data: Data, seeds: int, folder: Path) -> list[dict[str, Any]]:
    """Mean, least and most accuracy over the seeds for every way and sparsity, and what is left of the parameters."""
    found = [p for seed in range(seeds) for p in points(model, seed, data, folder)]
    rows = []
    for way in WAYS:
        for sparsity in GRID:
            some = [p for p in found if (p["way"], p["sparsity"]) == (way, sparsity)]
            accuracies = [p["accuracy"] for p in some]
            rows.append({"way": way, "sparsity": sparsity, "accuracy": statistics.mean(accuracies),
                         "least": min(accuracies), "most": max(accuracies),
                         "left": statistics.mean(p["left"] for p in some)})
    return rows


def draw(found: dict[str, Any], path: Path) -> None:
    """Both networks side by side, the mean with a band from the worst to the best seed."""
    figure, panels = plt.subplots(1, len(found["models"]), figsize=(8, 3.2), sharey=True)
    for panel, (name, points) in zip(panels, found["models"].items(), strict=True):
        for way, (_, _, colour, style) in WAYS.items():
            some = [p for p in points if p["way"] == way]
            x = [100 * p["sparsity"] for p in some]
            panel.plot(x, [100 * p["accuracy"] for p in some], style, color=colour, marker="o", markersize=3, label=way)
            panel.fill_between(x, [100 * p["least"] for p in some], [100 * p["most"] for p in some], alpha=0.2,
                               color=colour, linewidth=0)
        panel.set(title=name, xlabel="neurons removed of each group (%)", ylim=(0, 100))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Sweep, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/curves"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default=",".join(TRAINED))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.runs.mkdir(parents=True, exist_ok=True)
    data = images()
    models = {model: swept(model, data, asked.seeds, asked.runs) for model in asked.models.split(",")}
    if list(models) != list(TRAINED):
        return
    result = {"data": f"{TRAIN} images of Fashion-MNIST to train on and {TEST} to test, padded to 32x32",
              "calibration": CALIBRATION, "trained": TRAINED, "seeds": asked.seeds, "models": models}
    (HERE / "results" / "curves.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result, HERE.parent / "docs" / "images" / "neurons.png")


if __name__ == "__main__":
    main()
