"""Training, pruning and evaluation on a GPU, beside the same on the CPU, in one run.

    python benchmarks/gpu.py [--out benchmarks/results/cuda.json]

Every plan made from the weights on the GPU must be the plan made from the same weights on the CPU, and
the accuracies of the pruned networks must agree within what float rounding explains.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

import secateur as sc
from secateur.core.machine import machine
from secateur.data import resolve
from secateur.measure.accuracy import evaluate
from secateur.models import build as make_model
from secateur.training.loop import train

GRID = (0.5, 0.7, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cuda.json")
    options = parser.parse_args()
    data = resolve("mnist")
    trained = {device: on(device, data) for device in ("cuda", "cpu")}
    result = {"machine": machine(), "gpu": torch.cuda.get_device_name(),
              "trained": {device: figures for device, (_, figures) in trained.items()},
              "points": [point(trained["cuda"][0], data, g, s) for g in ("weight", "neuron") for s in GRID]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def on(device: str, data: Any) -> tuple[torch.nn.Module, dict[str, float]]:
    """The study's network, trained on a device: seconds, and its accuracy there."""
    torch.manual_seed(0)
    model = make_model("mlp", (1, 28, 28), 10).to(device)
    start = perf_counter()
    train(model, data, seed=0)
    seconds = perf_counter() - start
    start = perf_counter()
    accuracy = evaluate(model, data.test_x, data.test_y).accuracy
    return model, {"train_seconds": seconds, "evaluate_seconds": perf_counter() - start, "accuracy": accuracy}


def point(model: torch.nn.Module, data: Any, granularity: str, sparsity: float) -> dict[str, Any]:
    """One cut planned and applied on the GPU and on the CPU, and how far the two are apart."""
    host, example = copy.deepcopy(model).cpu(), data.test_x[:2]
    start = perf_counter()
    plan = sc.plan(model, sparsity, granularity=granularity, example=example.cuda(), skip=["fc5"])
    pruned = sc.apply(model, plan)
    torch.cuda.synchronize()
    seconds = perf_counter() - start
    same = sc.plan(host, sparsity, granularity=granularity, example=example, skip=["fc5"])
    assert plan == same, f"{granularity} at {sparsity}: the plans differ"
    accuracies = [evaluate(m, data.test_x, data.test_y).accuracy for m in (pruned, sc.apply(host, same))]
    assert next(pruned.parameters()).is_cuda
    assert abs(accuracies[0] - accuracies[1]) <= 0.001, accuracies
    return {"granularity": granularity, "sparsity": sparsity, "plan_and_apply_seconds": seconds,
            "accuracy_cuda": accuracies[0], "accuracy_cpu": accuracies[1]}


if __name__ == "__main__":
    main()
