"""How long the study's commands take, and its grid computed by secateur and in the obvious way, in one run.

The obvious way is what a user writes with today's tools: for every point a deep copy, then
``torch.nn.utils.prune`` (weights) or Torch-Pruning (neurons), then the test set through the copy in
torch eager, from a ``DataLoader`` or, faster, from slices of a tensor. Both ways start from the same
trained networks; training and timing of latency are in neither figure.

The commands are run as a user runs them, one after the other in a folder of their own: the first look of
``make demo``, the whole study of ``make study``, and that again with nothing left to do. The seconds are those
of the whole process, from its start to its end, and CPU seconds stand beside them.

    python benchmarks/study.py [--only commands|grid] [--rounds 3] [--run runs/mlp-mnist]
                               [--out benchmarks/results/study.json]

The grid needs torch-pruning beside secateur[study].
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import safetensors.torch
import torch
import torch.nn.utils.prune as torch_prune
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import secateur as sc
from secateur.core.machine import machine
from secateur.core.progress import Progress
from secateur.experiment.config import RunOptions
from secateur.experiment.grid import Grid, load_grid
from secateur.experiment.run import load_run
from secateur.experiment.stages import run_stages
from secateur.experiment.store import Store
from secateur.experiment.study import study
from secateur.experiment.sweep import Sweep
from secateur.experiment.trial import open_bundle
from secateur.models import build as make_model

CUTS = (("weight", "magnitude"), ("weight", "random"), ("neuron", "l2"), ("neuron", "random"))
CONFIG = sc.StudyConfig(latency_batches=(), best=False, uncut_bits=())
COMMANDS = {"demo": ["study", "--quick"], "study": ["study"], "again": ["study", "--batch", ""]}
"""What a user types, by the name of its figure; the last two in one folder. The last one leaves the timings alone,
because it would repeat those that were noisy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("commands", "grid"), help="measure one part, keep the other's figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", type=Path, help="a finished study with default settings, whose networks are taken")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "study.json")
    options = parser.parse_args()
    result = json.loads(options.out.read_text()) if options.only and options.out.exists() else {}
    if options.only != "grid":
        result["commands"] = {"machine": machine(), "load_before": os.getloadavg()[0], **time_commands()}
    if options.only != "commands":
        result |= time_grid(options.run, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def time_commands() -> dict[str, dict[str, float]]:
    """Wall and CPU seconds of each command, run in a new folder."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            before, start = _cpu_seconds(), perf_counter()
            subprocess.run([sys.executable, "-m", "secateur", *words], cwd=folder, check=True)
            found[name] = {"seconds": perf_counter() - start, "cpu_seconds": _cpu_seconds() - before}
            print(f"{name}: {found[name]['seconds']:.1f} s", flush=True)
    return found


def _cpu_seconds() -> float:
    """Those of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_grid(finished: Path | None, rounds: int) -> dict[str, Any]:
    """The grid in each way, from one set of trained networks."""
    with tempfile.TemporaryDirectory() as scratch:
        if finished:
            shutil.copytree(finished, Path(scratch) / "run")
        run = study(config=CONFIG, out=Path(scratch) / "run")
        grid = load_grid(CONFIG)
        ways: dict[str, Callable[[], Any]] = {
            "secateur": lambda: ours(run.folder, 1, grid), "secateur, 2 jobs": lambda: ours(run.folder, 2, grid),
            "obvious, DataLoader": lambda: obvious(run.folder, grid, loader),
            "obvious, slices of 1000": lambda: obvious(run.folder, grid, slices)}
        seconds, answers = interleaved(ways, rounds)
    check_same(answers)
    return {"machine": machine(), "points": len(run.points), "rounds": rounds,
            "seconds": {name: statistics.median(values) for name, values in seconds.items()},
            "all_seconds": seconds,
            "ratio": {name: statistics.median(b / a for a, b in zip(seconds["secateur"], values, strict=True))
                      for name, values in seconds.items()}}


def interleaved(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Each way in turn, round by round: seconds of each, and the accuracies that it found."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            start = perf_counter()
            answers[name] = way()
            seconds[name].append(perf_counter() - start)
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    return seconds, answers


def ours(folder: Path, jobs: int, grid: Grid) -> dict[tuple[Any, ...], float]:
    """The sweep again, its points forgotten, its networks kept."""
    with sqlite3.connect(folder / "rows.sqlite") as db:
        db.execute("DELETE FROM rows WHERE kind = 'point'")
    open_bundle.cache_clear()
    with Store(folder) as store, Sweep(grid, store, Progress(), RunOptions(jobs=jobs)) as sweep:
        run_stages(sweep, lambda: None)
    points = load_run(folder).points
    return {(p["seed"], p["granularity"], p["criterion"], p["sparsity"]): p["accuracy"] for p in points}


def obvious(folder: Path, grid: Grid, batches: Callable[[Tensor, Tensor], Any]) -> dict[tuple[Any, ...], float]:
    """A deep copy, a pruning library and an evaluation for every point."""
    data = grid.task.data
    test = batches(data.test_x, data.test_y)
    found = {}
    for seed, network in enumerate(networks(folder)):
        for granularity, criterion in CUTS:
            for sparsity in CONFIG.sparsity:
                pruned = copy.deepcopy(network)
                if granularity == "weight":
                    cut_weights(pruned, criterion, sparsity)
                else:
                    cut_neurons(pruned, criterion, sparsity, data.test_x[:1])
                found[seed, granularity, criterion, sparsity] = evaluate(pruned, test)
    return found


def networks(folder: Path) -> Iterator[nn.Module]:
    """The run's trained networks, seed by seed."""
    with Store(folder) as store:
        keys = store.meta("run")["trained"]
    for key in keys:
        network = make_model(CONFIG.model, (1, 28, 28), 10)
        network.load_state_dict(safetensors.torch.load_file(folder / "networks" / f"{key}.safetensors"))
        yield network.eval()


def hidden(network: nn.Module) -> list[nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Linear)][:-1]


def cut_weights(network: nn.Module, criterion: str, sparsity: float) -> None:
    method = torch_prune.l1_unstructured if criterion == "magnitude" else torch_prune.random_unstructured
    for layer in hidden(network):
        method(layer, "weight", amount=sparsity)
        torch_prune.remove(layer, "weight")


def cut_neurons(network: nn.Module, criterion: str, sparsity: float, example: Tensor) -> None:
    import torch_pruning as tp

    importance = tp.importance.MagnitudeImportance(p=2, group_reduction="first") if criterion == "l2" \
        else tp.importance.RandomImportance()
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    tp.pruner.BasePruner(network, example, importance, pruning_ratio=sparsity, ignored_layers=[last]).step()


def loader(x: Tensor, y: Tensor) -> Any:
    return DataLoader(TensorDataset(x, y), batch_size=64)


def slices(x: Tensor, y: Tensor) -> Any:
    return list(zip(x.split(1000), y.split(1000), strict=True))


@torch.no_grad()
def evaluate(network: nn.Module, batches: Any) -> float:
    """Accuracy, with the loss that the study keeps as well."""
    loss, right, count = 0.0, 0, 0
    for x, y in batches:
        logits = network(x)
        loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
        right += int((logits.argmax(1) == y).sum())
        count += len(y)
    assert loss == loss
    return right / count


def check_same(answers: dict[str, Any]) -> None:
    """Both ways found the same curves, or the times compare different work.

    Weights everywhere; neurons up to half of them, beyond which the curve is steep and Torch-Pruning,
    which rounds counts its own way, takes other neurons.
    """
    mine, theirs = answers["secateur"], answers["obvious, slices of 1000"]
    for key, accuracy in mine.items():
        if key[2] == "magnitude" or (key[2] == "l2" and key[3] <= 0.5):
            assert abs(accuracy - theirs[key]) < 0.005, (key, accuracy, theirs[key])


if __name__ == "__main__":
    main()
