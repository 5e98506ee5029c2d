"""The methods that benchmarks/accuracy.py compares: the package's own, and the peers as they come.

A method takes a trained network with its data and a sparsity, and gives the network cut to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import secateur as sc
from secateur import graph, models
from secateur.core.types import Plan
from secateur.data import resolve
from secateur.data.calibration import calibration
from secateur.pruning.selection import Selection
from secateur.pruning.spec import PruningSpec
from secateur.recovery.methods.base import RecoveryContext
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.pipeline import recover
from secateur.training.loop import train

CACHE = Path.home() / ".cache" / "secateur" / "accuracy"
SAMPLES, EPOCHS = 8192, 5
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
        net = models.build(self.model, self.source.shape, self.source.classes)
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
    spec = PruningSpec(granularity=granularity, criterion=criterion, scope=scope, seed=case.seed)
    return Selection(case.network, spec, example=case.inputs[:1], structure=case.structure,
                     outputs=case.structure.outputs, samples=calibration(case.pairs))


Method = Callable[[Case, float], nn.Module]


def ours(granularity: str, criterion: str, recovery: Any = "none", scope: str = "layer",
         everything: bool = False) -> Method:
    """A criterion and a recovery; ``everything`` gives the recovery all training samples with their labels."""
    def method(case: Case, sparsity: float) -> nn.Module:
        plan = case.selection(granularity, criterion, scope).plan(sparsity)
        cut = sc.apply(case.network, plan)
        first, *more = recovery if isinstance(recovery, tuple) else (recovery,)
        cut = recover(case.network, cut, plan, first, calibration(
            (case.source.train_x, case.source.train_y) if everything and not more else case.inputs), case.seed).network
        for item in more:
            cut = recover(case.network, cut, plan, item, calibration((case.source.train_x, case.source.train_y)),
                          case.seed).network
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
    """Torch-Pruning's own importance and surgery, uniform over the layers; gradients from the labelled samples.

    Its Hessian importance keeps the last sample's gradient alone (1.6.1); here it gets the mean of 256 squares, as
    meant. A ratio a little smaller than asked makes it leave as many units as the others do.
    """
    def method(case: Case, sparsity: float) -> nn.Module:
        import torch_pruning as tp

        net = copy.deepcopy(case.network)
        importance = getattr(tp.importance, kind)(**options)
        ignored = [net.get_submodule(name) for name in case.structure.outputs]
        pruner = tp.pruner.MetaPruner(net, case.inputs[:1], importance, pruning_ratio=sparsity - 1e-6,
                                      ignored_layers=ignored)
        x, y = case.pairs
        if kind == "GroupTaylorImportance":
            for part in range(0, SAMPLES, 512):
                nn.functional.cross_entropy(net(x[part:part + 512]), y[part:part + 512]).backward()
        if kind == "GroupHessianImportance":
            squares = {p: torch.zeros_like(p) for p in net.parameters()}
            for i in range(256):
                net.zero_grad()
                nn.functional.cross_entropy(net(x[i:i + 1]), y[i:i + 1]).backward()
                for parameter, total in squares.items():
                    total += parameter.grad.square()  # type: ignore[union-attr]
            importance._accu_grad, importance._counter = squares, dict.fromkeys(squares, 256)
        pruner.step()
        net.zero_grad()
        return net.eval()
    return method


def then_finetune(method: Method) -> Method:
    """The same training after a peer's cut as after ours: 5 epochs, half of the loss from the dense network."""
    def tuned(case: Case, sparsity: float) -> nn.Module:
        cut = method(case, sparsity)
        samples = calibration((case.source.train_x, case.source.train_y))
        plan = Plan("neuron", "peer", "layer", sparsity, (), {})
        return TUNED.recover(RecoveryContext(case.network, cut, plan, samples, case.seed))
    return tuned


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
    "Torch-Pruning Taylor + 5 epochs": then_finetune(torch_pruning("GroupTaylorImportance")),
    "elimination + reconstruct + 5 epochs": ours("neuron", "elimination", (Reconstruct(), TUNED)),
    "l2 + 5 epochs": ours("neuron", "l2", TUNED, everything=True),
    **{f"{c}{' + ' + r if r != 'none' else ''}": ours("neuron", c, r) for c in (
        "l1", "fpgm", "activation", "apoz", "taylor", "leverage") for r in ("none", "reconstruct")},
    **{c: ours("neuron", c) for c in ("elimination", "cholesky", "energy")}}
METHODS = {"weight": WEIGHTS, "neuron": NEURONS}
