"""Accuracy against neurons cut, for the two networks on 32x32 images: trains, sweeps, draws, writes the figures.

    python benchmarks/curves.py --runs runs/curves --epochs 8 --seeds 2

The images are scikit-learn's digits, enlarged fourfold. A run that was stopped goes on.
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

import secateur as sc
from secateur.data import dataset
from secateur.data.digits import Digits

matplotlib.use("Agg")
HERE = Path(__file__).parent
MODELS = ("resnet20", "vit-tiny")
GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)


def enlarged() -> Any:
    """The digits as 32x32 images: every pixel becomes a square of four by four."""
    found = Digits().load()
    images = [torch.kron(x, torch.ones(1, 1, 4, 4)) for x in (found.train_x, found.test_x)]
    return dataset("digits-32", images[0], found.train_y, images[1], found.test_y, classes=10)


def rows(run: Any) -> list[dict[str, Any]]:
    """Mean, least and most accuracy over the seeds at every point, and what is left of the parameters."""
    kinds = sorted({(p["criterion"], p["sparsity"]) for p in run.points})
    found = []
    for criterion, sparsity in kinds:
        points = [p for p in run.points if (p["criterion"], p["sparsity"]) == (criterion, sparsity)]
        accuracies = [p["accuracy"] for p in points]
        found.append({"criterion": criterion, "sparsity": sparsity, "accuracy": statistics.mean(accuracies),
                      "least": min(accuracies), "most": max(accuracies),
                      "flops": statistics.mean(p["flops"] for p in points)})
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Both networks side by side, the random control dashed."""
    figure, panels = plt.subplots(1, len(found["models"]), figsize=(8, 3), sharey=True)
    for panel, (name, points) in zip(panels, found["models"].items(), strict=True):
        for criterion, style in (("l2", "-"), ("random", "--")):
            some = [p for p in points if p["criterion"] == criterion]
            x = [100 * p["sparsity"] for p in some]
            panel.plot(x, [100 * p["accuracy"] for p in some], style, marker="o", markersize=3, label=criterion)
            panel.fill_between(x, [100 * p["least"] for p in some], [100 * p["most"] for p in some], alpha=0.2)
        panel.set(title=name, xlabel="neurons removed of each group (%)")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Sweep, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/curves"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    data, found = enlarged(), {}
    for model in MODELS:
        config = sc.StudyConfig(model=model, granularity=("neuron",), criterion=("l2", "random"), sparsity=GRID,
                                seeds=asked.seeds, epochs=asked.epochs, lr=2e-3, latency_batches=(), best=False)
        make = registered(model, data)
        found[model] = rows(sc.study(make, data, config, out=str(asked.runs / model)))
    result = {"data": "scikit-learn's digits, enlarged to 32x32", "epochs": asked.epochs, "seeds": asked.seeds,
              "models": found}
    (HERE / "results" / "curves.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result, HERE.parent / "docs" / "images" / "neurons.png")


def registered(model: str, data: Any) -> Any:
    """A built-in network made for the data's images and classes."""
    from secateur import registry

    kind = registry.get("models", model)
    return lambda: kind(tuple(data.train_x.shape[1:]), 10)


if __name__ == "__main__":
    main()
