"""What each cut costs: every criterion and recovery beside the peers, on the same trained networks and samples.

    python benchmarks/accuracy.py [--model mlp] [--data mnist] [--seeds 5] [--methods A,B] [--sparsity 0.9,0.95]
    python benchmarks/accuracy.py --write

Networks are trained once and kept in ``~/.cache/secateur/accuracy``; so is each result as it comes, in
``rows.jsonl``, and what is there is not computed again. ``--write`` puts their means with 95% intervals into
benchmarks/results/accuracy.json. The output layer stays whole. Methods that take data get 8,192 samples of the
training part, without labels unless the method says otherwise. Torch-Pruning is an optional peer
(``pip install torch-pruning==1.6.1``).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import secateur as sc
from secateur import graph, models
from secateur.calibration import calibration
from secateur.data import resolve
from secateur.machine import machine
from secateur.measure import evaluate
from secateur.prune import Selection
from secateur.recover import recover
from secateur.recovery.finetune import Finetune
from secateur.recovery.reconstruct import Reconstruct
from secateur.train import train

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "secateur" / "accuracy"
SAMPLES, EPOCHS = 8192, 5
GRIDS = {"weight": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99), "neuron": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
TUNED = Finetune(epochs=5, batch_size=256, lr=2e-3, distil=0.5)


@dataclass(frozen=True)
class Case:
    """One trained network with its data."""

    model: str
    data: str
    seed: int

    @cached_property
    def source(self) -> Any:
        """The data set."""
        return _data(self.data)

    @cached_property
    def network(self) -> nn.Module:
        """The trained network, from the cache where it is there."""
        path = CACHE / f"{self.model}-{self.data}-{self.seed}-e{EPOCHS}.safetensors"
        torch.manual_seed(self.seed)
        net = models.resolve(self.model, self.source.shape, self.source.classes)
        if not path.exists():
            train(net, self.source, self.seed, EPOCHS)
            path.parent.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(net.state_dict(), path)
        net.load_state_dict(safetensors.torch.load_file(path))
        return net.eval()

    @cached_property
    def structure(self) -> Any:
        """The network's targets and groups."""
        return graph.trace(self.network, self.source.test_x[:1])

    @cached_property
    def chosen(self) -> Tensor:
        """Which training samples are shown."""
        return torch.randperm(len(self.source.train_x), generator=torch.Generator().manual_seed(0))[:SAMPLES]

    @cached_property
    def inputs(self) -> Tensor:
        """Their inputs."""
        return self.source.train_x[self.chosen]

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Their inputs and labels."""
        return self.inputs, self.source.train_y[self.chosen]

    def selection(self, granularity: str, criterion: str, scope: str = "layer") -> Selection:
        """The scores for one criterion, kept for the next sparsity."""
        return _selection(self, granularity, criterion, scope)


@lru_cache(maxsize=2)
def _data(name: str) -> Any:
    return resolve(name)


@lru_cache(maxsize=1)
def _selection(case: Case, granularity: str, criterion: str, scope: str) -> Selection:
    return Selection(case.network, granularity, criterion, scope, case.structure.outputs, case.inputs[:1], case.seed,
                     case.structure, samples=calibration(case.pairs))


Method = Callable[[Case, float], nn.Module]


def ours(granularity: str, criterion: str, recovery: Any = "none", scope: str = "layer",
         everything: bool = False) -> Method:
    """A criterion and a recovery; ``everything`` gives the recovery all training samples with their labels."""
    def method(case: Case, sparsity: float) -> nn.Module:
        plan = case.selection(granularity, criterion, scope).plan(sparsity)
        cut = sc.apply(case.network, plan)
        first, *more = recovery if isinstance(recovery, tuple) else (recovery,)
        cut = recover(case.network, cut, plan, first, calibration(
            (case.source.train_x, case.source.train_y) if everything and not more else case.inputs), case.seed)
        for item in more:
            cut = recover(case.network, cut, plan, item, calibration((case.source.train_x, case.source.train_y)),
                          case.seed)
        return cut
    return method


def layers_of(case: Case, net: nn.Module) -> list[nn.Module]:
    """The layers to cut: all linear and convolutional ones but that of the outputs."""
    return [net.get_submodule(t.module) for t in case.structure.targets if t.module not in case.structure.outputs]


def torch_prune(kind: str) -> Method:
    """torch.nn.utils.prune, layer by layer."""
    def method(case: Case, sparsity: float) -> nn.Module:
        from torch.nn.utils import prune

        net = copy.deepcopy(case.network)
        torch.manual_seed(case.seed)
        for layer in layers_of(case, net):
            getattr(prune, kind)(layer, "weight", amount=sparsity)
            prune.remove(layer, "weight")
        return net
    return method


def torch_pruning(kind: str, **options: Any) -> Method:
    """Torch-Pruning's own importance and surgery, uniform over the layers; gradients from the labelled samples."""
    def method(case: Case, sparsity: float) -> nn.Module:
        import torch_pruning as tp

        net = copy.deepcopy(case.network)
        importance = getattr(tp.importance, kind)(**options)
        ignored = [net.get_submodule(name) for name in case.structure.outputs]
        pruner = tp.pruner.MetaPruner(net, case.inputs[:1], importance, pruning_ratio=sparsity, ignored_layers=ignored)
        x, y = case.pairs
        if kind == "GroupTaylorImportance":
            for part in range(0, SAMPLES, 512):
                nn.functional.cross_entropy(net(x[part:part + 512]), y[part:part + 512]).backward()
        if kind == "GroupHessianImportance":
            importance.zero_grad()
            for i in range(256):
                net.zero_grad()
                nn.functional.cross_entropy(net(x[i:i + 1]), y[i:i + 1]).backward()
                importance.accumulate_grad(net)
        pruner.step()
        net.zero_grad()
        return net.eval()
    return method


def published(step: Callable[[Tensor, Tensor, float], Tensor]) -> Method:
    """A layer-by-layer procedure as its authors run it: inputs from the layers that are cut already.

    ``step`` takes a weight matrix, its inputs as columns-by-samples and the sparsity, and gives the new matrix.
    """
    def method(case: Case, sparsity: float) -> nn.Module:
        net = copy.deepcopy(case.network)
        for layer in layers_of(case, net):
            seen: list[Tensor] = []
            hook = layer.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0].detach()))
            with torch.no_grad():
                net(case.inputs)
            hook.remove()
            x = seen[0]
            if isinstance(layer, nn.Conv2d):
                x = nn.functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
                x = x.permute(1, 0, 2).flatten(1)
            else:
                x = x.flatten(0, -2).T
            with torch.no_grad():
                layer.weight.copy_(step(layer.weight.flatten(1).clone(), x, sparsity).view_as(layer.weight))
        return net
    return method


def sparsegpt(weight: Tensor, x: Tensor, sparsity: float) -> Tensor:
    """SparseGPT as published (blocks of 128 columns, 1% damping), written out slowly from the paper."""
    hessian = 2 * x @ x.T / x.shape[1]
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    for start in range(0, weight.shape[1], 128):
        end = min(start + 128, weight.shape[1])
        block, errors = weight[:, start:end].clone(), torch.zeros(len(weight), end - start)
        scores = block.square() / upper.diagonal()[start:end].square()
        limit = scores.flatten().sort().values[int(scores.numel() * sparsity)]
        mask = scores <= limit
        for i in range(end - start):
            kept = torch.where(mask[:, i], 0, block[:, i])
            errors[:, i] = (block[:, i] - kept) / upper[start + i, start + i]
            block[:, i:] -= errors[:, i:i + 1] * upper[start + i, start + i:end]
            block[:, i] = kept
        weight[:, start:end] = block
        weight[:, end:] -= errors @ upper[start:end, end:]
    return weight


def wanda(weight: Tensor, x: Tensor, sparsity: float) -> Tensor:
    """Wanda as published: the weights of each output compete."""
    scores = weight.abs() * x.norm(dim=1)
    order = scores.sort(dim=1, stable=True).indices[:, :int(weight.shape[1] * sparsity)]
    return weight.scatter(1, order, 0.0)


def gradual(case: Case, sparsity: float) -> nn.Module:
    """Gradual magnitude pruning as tfmot does it: 5 epochs, cubic from half the way of nothing to four fifths."""
    net, data = copy.deepcopy(case.network).train(), case.source
    layers, optimizer = layers_of(case, net), torch.optim.Adam(net.parameters(), lr=1e-3)
    draw, per_epoch = torch.Generator().manual_seed(case.seed), -(-len(data.train_x) // 256)
    last, masks = int(0.8 * 5 * per_epoch), {}
    for step in range(5 * per_epoch):
        if step % per_epoch == 0:
            order = torch.randperm(len(data.train_x), generator=draw).split(256)
        part = order[step % per_epoch]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data.train_x[part]), data.train_y[part]).backward()
        optimizer.step()
        with torch.no_grad():
            if (step % 50 == 0 and step <= last) or step == last:
                now = sparsity + (0.5 * sparsity - sparsity) * (1 - min(step / last, 1)) ** 3
                for layer in layers:
                    flat = layer.weight.abs().flatten()
                    masks[layer] = (layer.weight.abs() > flat.kthvalue(max(1, round(now * flat.numel()))).values)
            for layer, mask in masks.items():
                layer.weight.mul_(mask)
    return net.eval()


WEIGHTS: dict[str, Method] = {
    "magnitude": ours("weight", "magnitude"), "random": ours("weight", "random"),
    "magnitude + reconstruct": ours("weight", "magnitude", "reconstruct"),
    "magnitude + rechoose": ours("weight", "magnitude", "rechoose"),
    "sparsegpt": ours("weight", "magnitude", "sparsegpt"),
    "torch.nn.utils.prune l1": torch_prune("l1_unstructured"),
    "torch.nn.utils.prune random": torch_prune("random_unstructured"),
    "published SparseGPT": published(sparsegpt), "published Wanda": published(wanda),
    "best-finetune": ours("weight", "magnitude", "best-finetune", "global", everything=True),
    "gradual, 5 epochs (as tfmot)": gradual,
    "magnitude + 5 epochs": ours("weight", "magnitude", TUNED, everything=True),
    **{f"{c}{' + ' + r if r != 'none' else ''}": ours("weight", c, r) for c in (
        "wanda", "obs", "sparsegpt", "obd", "taylor", "snip", "movement", "grasp", "synflow")
       for r in ("none", "reconstruct")}}
WEIGHTS["sparsegpt"], WEIGHTS["sparsegpt order"] = ours("weight", "magnitude", "sparsegpt"), ours("weight", "sparsegpt")
NEURONS: dict[str, Method] = {
    "l2": ours("neuron", "l2"), "random": ours("neuron", "random"),
    "elimination + reconstruct": ours("neuron", "elimination", "reconstruct"),
    "cholesky + reconstruct": ours("neuron", "cholesky", "reconstruct"),
    "energy + reconstruct": ours("neuron", "energy", "reconstruct"),
    "l2 + reconstruct": ours("neuron", "l2", "reconstruct"),
    "Torch-Pruning magnitude": torch_pruning("GroupMagnitudeImportance"),
    "Torch-Pruning Taylor": torch_pruning("GroupTaylorImportance"),
    "Torch-Pruning Hessian": torch_pruning("GroupHessianImportance"),
    "elimination + reconstruct + 5 epochs": ours("neuron", "elimination", (Reconstruct(), TUNED)),
    "l2 + 5 epochs": ours("neuron", "l2", TUNED, everything=True),
    **{f"{c}{' + ' + r if r != 'none' else ''}": ours("neuron", c, r) for c in (
        "l1", "fpgm", "activation", "apoz", "taylor", "leverage") for r in ("none", "reconstruct")},
    **{c: ours("neuron", c) for c in ("elimination", "cholesky", "energy")}}
METHODS = {"weight": WEIGHTS, "neuron": NEURONS}


def done() -> dict[str, dict[str, Any]]:
    """The results so far, by their settings."""
    path = CACHE / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {key(row): row for row in rows}


def key(row: dict[str, Any]) -> str:
    return "/".join(str(row[k]) for k in ("model", "data", "seed", "granularity", "method", "sparsity"))


def keep(row: dict[str, Any]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def measured(case: Case, granularity: str, name: str, sparsity: float) -> dict[str, Any]:
    """One result: accuracy in [0, 1], seconds of wall and processor, what it reached."""
    wall, cpu = time.perf_counter(), time.process_time()
    net = METHODS[granularity][name](case, sparsity)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"model": case.model, "data": case.data, "seed": case.seed, "granularity": granularity, "method": name,
            "sparsity": sparsity, "accuracy": evaluate(net, case.source.test_x, case.source.test_y).accuracy,
            "parameters": sum(p.numel() for p in net.parameters()),
            "nonzeros": sum(int(p.count_nonzero()) for p in net.parameters()), "seconds": wall, "cpu_seconds": cpu}


def run(options: argparse.Namespace) -> None:
    """All cases that were asked for and are not there."""
    have = done()
    for seed in range(options.seeds):
        case = Case(options.model, options.data, seed)
        dense = {"model": case.model, "data": case.data, "seed": seed, "granularity": "", "method": "dense",
                 "sparsity": 0.0}
        if key(dense) not in have:
            keep({**dense, "accuracy": evaluate(case.network, case.source.test_x, case.source.test_y).accuracy})
        for granularity, methods in METHODS.items():
            for name in methods:
                if granularity not in options.granularity or (options.methods and name not in options.methods):
                    continue
                for sparsity in options.sparsity or GRIDS[granularity]:
                    row = {**dense, "granularity": granularity, "method": name, "sparsity": sparsity}
                    if key(row) not in have:
                        keep(measured(case, granularity, name, sparsity))


def write() -> None:
    """Means and 95% intervals over the seeds (Student's t), as JSON for the tables."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in done().values():
        groups.setdefault(tuple(row[k] for k in ("model", "data", "granularity", "method", "sparsity")), []).append(row)
    rows = [{**dict(zip(("model", "data", "granularity", "method", "sparsity"), group, strict=True)),
             **summary(members)} for group, members in sorted(groups.items())]
    result = {"machine": machine(), "samples": SAMPLES, "rows": rows}
    (HERE / "results" / "accuracy.json").write_text(json.dumps(result, indent=1) + "\n")


def summary(members: list[dict[str, Any]]) -> dict[str, Any]:
    values, n = [m["accuracy"] for m in members], len(members)
    half = T95.get(n, 1.96) * statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return {"seeds": n, "accuracy": statistics.mean(values), "half": half,
            "nonzeros": members[0].get("nonzeros"), "cpu_seconds": statistics.median(m.get("cpu_seconds", 0.0)
                                                                                   for m in members)}


def words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> Iterator[float]:
    return [float(part) for part in words(text)]  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--granularity", type=words, default=["weight", "neuron"])
    parser.add_argument("--methods", type=words, default=[])
    parser.add_argument("--sparsity", type=numbers, default=[])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    write() if options.write else run(options)


if __name__ == "__main__":
    main()
