"""A made-up run with every field that the report reads, small and the same each time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateur.experiment.row import Row
from secateur.experiment.run import RunData
from secateur.experiment.weight_statistics import weight_statistics

GRID = (0.0, 0.01, 0.05, 0.1, 0.15, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
SHAPES = {"0.weight": (40, 64), "2.weight": (40, 40), "4.weight": (20, 40)}
LAST = 10 * 20
TESTS, STEPS = 4000, 400
"""Test samples, and how many steps their accuracy has."""
HALF_POINT = {("weight", False): 0.97, ("weight", True): 0.35, ("neuron", False): 0.86, ("neuron", True): 0.4,
              ("block", False): 0.9}


def make(folder: Path = Path("run"), grid: tuple[float, ...] = GRID,
         granularities: tuple[str, ...] = ("weight", "neuron"),
         criteria: dict[str, tuple[str, ...]] | None = None, scopes: tuple[str, ...] = ("layer",), seeds: int = 3,
         batches: tuple[int, ...] = (1, 64, 1024), images: bool = True, trained_here: bool = True,
         with_anatomy: bool = True) -> RunData:
    """Make a run; ``batches=()`` leaves latency out."""
    criteria = criteria or {"weight": ("magnitude", "random"), "neuron": ("l2", "random")}
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, TESTS)
    points = [point(seed, g, c, scope, s, labels, batches, images)
              for seed in range(seeds) for g in granularities for c in criteria[g] for scope in scopes for s in grid]
    return RunData(folder, config(grid, granularities, criteria, scopes, seeds, batches), MACHINE,
                   "secateur study --model mlp --data digits --seeds 3 --out runs/made-up",
                   [trained(seed, trained_here) for seed in range(seeds)], points,
                   [weight_statistics(weights(seed), grid) for seed in range(seeds)] if with_anatomy else [],
                   {"images": pictures(rng), "labels": labels[:16].tolist()} if images else None, labels)


def quantised(run: RunData, lost: float = 0.0, cut: bool = False, bits: tuple[int, ...] = (16, 8)) -> RunData:
    """The run with the uncut network in fewer bits, which loses so much accuracy and takes as many bytes as its bits;
    where asked with every cut in eight bits, too."""
    uncut = {p.seed: p for p in reversed(run.points) if p.is_uncut}
    more = [_in_bits(p, b, lost) for p in uncut.values() for b in bits]
    more += [_in_bits(p, 8, lost) for p in run.points if cut and p.removed and not p.control]
    return replace(run, points=[*run.points, *more])


def _in_bits(p: Row, bits: int, lost: float) -> Row:
    right = round(TESTS * (p.accuracy - lost))
    correct = np.zeros(TESTS, np.uint8)
    correct[np.random.default_rng(7).permutation(TESTS)[:right]] = 1
    sizes = {"bytes": p.bytes * bits // 32, "bytes_sparse": p.bytes_sparse * bits // 32}
    return replace(p, bits=bits, accuracy=right / TESTS, correct=np.packbits(correct).tobytes(), latency=None,
                   conditions=None, work_ratio=None, sparse_error=None, **sizes)


MACHINE = {"cpu": "Made-up CPU 3000 @ 2.4 GHz", "cores": 2, "threads": 1, "os": "Linux 6.1", "python": "3.11.7",
           "torch": "2.13.0+cpu", "numpy": "2.2.0", "secateur": "0.1.0"}


def config(grid: Any, granularities: Any, criteria: Any, scopes: Any, seeds: int, batches: Any) -> dict[str, Any]:
    return {"model": "mlp", "data": "digits", "weights": None, "sparsity": list(grid),
            "granularity": list(granularities), "criterion": sorted({c for g in granularities for c in criteria[g]}),
            "scope": list(scopes), "skip": [],
            "seeds": seeds, "epochs": 5, "batch_size": 64, "lr": 0.001, "tolerance": 0.005,
            "latency_batches": list(batches), "threads": 1, "engine": "csr"}


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * torch.linspace(0.7, 1.3, shape[0])[:, None]
            for name, shape in SHAPES.items()}


def trained(seed: int, here: bool) -> dict[str, Any]:
    history = [{"epoch": e, "loss": 0.9 / e**1.1 + 0.01 * seed, "accuracy": 0.99 - 0.2 / e**1.5 - 0.002 * seed,
                "seconds": 1.2} for e in range(1, 6)]
    return {"seed": seed, "history": history if here else [], "loss": 0.09 + 0.005 * seed,
            "accuracy": dense_accuracy(seed), "parameters": sum(a * b for a, b in SHAPES.values()) + LAST}


def dense_accuracy(seed: int) -> float:
    return (390 - 2 * seed) / STEPS


def accuracy(seed: int, granularity: str, control: bool, s: float) -> float:
    fall = 1 / (1 + np.exp(-(s - HALF_POINT[granularity, control] - 0.01 * seed) * 28))
    at_zero = 1 / (1 + np.exp(HALF_POINT[granularity, control] * 28))
    return round(STEPS * (0.1 + (dense_accuracy(seed) - 0.1) * (1 - fall + at_zero * (1 - s)))) / STEPS


def point(seed: int, granularity: str, criterion: str, scope: str, s: float, labels: Any, batches: Any,
          images: bool) -> Row:
    control = criterion == "random"
    right = round(TESTS * accuracy(seed, granularity, control, s))
    correct = np.zeros(TESTS, np.uint8)
    correct[np.random.default_rng(7).permutation(TESTS)[:right]] = 1
    guesses = np.where(correct == 1, labels, (labels + 1 + seed) % 10)[:16].tolist()
    layers, left, dense = sizes(granularity, s)
    items, removed = sum(x["items"] for x in layers), sum(x["removed"] for x in layers)
    kept = dense if granularity == "neuron" else sum(a * b for a, b in SHAPES.values()) + LAST
    return Row(
        seed=seed, granularity=granularity, criterion=criterion, scope=scope, sparsity=s, control=control,
        reached=removed / items, items=items, removed=removed,
        loss=0.09 + 0.005 * seed + 3 * (dense_accuracy(seed) - right / TESTS), accuracy=right / TESTS,
        correct=np.packbits(correct).tobytes(), tests=TESTS, parameters=kept, nonzeros=left, bytes=4 * kept,
        bytes_sparse=min(4 * kept, 8 * left + 400), flops=2 * kept, flops_nonzero=2 * left, layers=layers,
        notes=["2.weight: kept one neuron"] if s > 0.98 and granularity == "neuron" else [],
        predictions=guesses if images else [], latency=latency(granularity, s, batches, seed),
        conditions={str(b): {"load": 0.01, "rounds": 51} for b in batches} or None,
        work_ratio=1 / max(1 - s, 0.01) if batches else None,
        sparse_error=2e-7 if granularity == "weight" else None)


def sizes(granularity: str, s: float) -> tuple[list[dict[str, Any]], int, int]:
    if granularity != "neuron":
        layers = [{"name": n, "items": a * b, "removed": round(s * a * b), "sparsity": round(s * a * b) / (a * b)}
                  for n, (a, b) in SHAPES.items()]
        left = sum(x["items"] - x["removed"] for x in layers) + LAST
        return layers, left, left
    layers = [{"name": n, "items": a, "removed": min(round(s * a), a - 1), "sparsity": min(round(s * a), a - 1) / a}
              for n, (a, _) in SHAPES.items()]
    widths = [64, *(x["items"] - x["removed"] for x in layers), 10]
    left = sum(a * b for a, b in pairwise(widths))
    return layers, left, left


def latency(granularity: str, s: float, batches: Any, seed: int) -> dict[str, Any] | None:
    if not batches:
        return None
    return {str(b): timings(granularity, s, b, seed) for b in batches}


def timings(granularity: str, s: float, batch: int, seed: int) -> dict[str, Any]:
    base = 2e-5 * batch**0.7 * (1 + 0.02 * seed)
    gain = {"small": 1 / (0.12 + 0.88 * (1 - s) ** 1.7), "dense": 1.0,
            "sparse": 0.33 / (0.04 + (1 - s) * (1 + 0.1 * np.log10(batch)))}
    found: dict[str, Any] = {"original": {"median": base, "low": base * 0.96, "high": base * 1.05}}
    for v in ("small",) if granularity == "neuron" else ("dense", "sparse"):
        g = float(gain[v])
        found[v] = {"median": base / g, "low": 0.96 * base / g, "high": 1.06 * base / g, "speedup": g,
                    "speedup_low": 0.97 * g, "speedup_high": 1.03 * g}
    return found


def pictures(rng: Any) -> Any:
    """Sixteen 8 x 8 pictures: a bright bar on a dim noise."""
    images = rng.integers(0, 60, (16, 8, 8)).astype(np.uint8)
    for i in range(16):
        images[i, :, i % 8] = 255
    return images
