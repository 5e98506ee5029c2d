"""Accuracy against neurons cut, for the two networks on 32x32 images: trains, sweeps, draws, writes the figures.

    python benchmarks/curves.py --runs runs/curves --seeds 3 [--models resnet20,vit-tiny]

The images are a part of Fashion-MNIST, a border of zeros around them. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F  # noqa: N812

import secateur as sc
from secateur import registry
from secateur.data import dataset
from secateur.data.fashion_mnist import FashionMnist

matplotlib.use("Agg")
HERE = Path(__file__).parent
TRAINED = {"resnet20": {"epochs": 8, "lr": 2e-3}, "vit-tiny": {"epochs": 15, "lr": 1e-3}}
WAYS = {"elimination + best": ("elimination", "best", "C2", "-"), "l2": ("l2", "none", "C0", "-"),
        "random": ("random", "none", "C7", "--")}
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRAIN, TEST, CALIBRATION = 4000, 1000, 1024


def images() -> Any:
    """The first images of Fashion-MNIST, two pixels of zero on every side."""
    found = FashionMnist().load()
    train, test = (F.pad(x, (2, 2, 2, 2)) for x in (found.train_x[:TRAIN], found.test_x[:TEST]))
    return dataset("fashion-mnist-32", train, found.train_y[:TRAIN], test, found.test_y[:TEST], classes=10)


def swept(model: str, data: Any, seeds: int, folder: Path) -> list[dict[str, Any]]:
    """Mean, least and most accuracy over the seeds for every way and sparsity, and what is left of the FLOPs."""
    kind = registry.get("models", model)
    rows = []
    for way, (criterion, recovery, _, _) in WAYS.items():
        config = sc.StudyConfig(model=model, granularity=("neuron",), criterion=(criterion,), recovery=(recovery,),
                                sparsity=GRID, seeds=seeds, calibration=CALIBRATION, latency_batches=(), threads=1,
                                **TRAINED[model])
        run = sc.study(lambda: kind(tuple(data.train_x.shape[1:]), 10), data, config, out=str(folder / model))
        for sparsity in GRID:
            points = [p for p in run.points if p["sparsity"] == sparsity]
            found = [p["accuracy"] for p in points]
            rows.append({"way": way, "sparsity": sparsity, "accuracy": statistics.mean(found), "least": min(found),
                         "most": max(found), "flops": statistics.mean(p["flops"] for p in points)})
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
    panels[0].legend(loc="lower left")
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
