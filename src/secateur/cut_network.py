"""One network cut, measured before and after, and written to a file that was read back and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur import files, graph
from secateur.apply import applied
from secateur.calibration import Calibration, calibration
from secateur.cut_config import CutConfig
from secateur.errors import UnsupportedError
from secateur.measure import device_of, evaluate, size, tensors
from secateur.overview import flops_of
from secateur.problem import Problem, problem
from secateur.progress import Progress
from secateur.prune import Selection
from secateur.recover import check_recoveries, recover, recoveries
from secateur.study import check_cuttable, steps, trained
from secateur.timing import MeasurementError
from secateur.timing import time as timing_of
from secateur.types import Plan

COMPARED = 256


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two networks: accuracy on the test part in [0, 1], sizes, FLOPs of one sample, zeros not counted.

    ``bytes`` are those of the file that :func:`secateur.save` writes; of the cut one, of the file that was written.
    """

    accuracy: float
    parameters: int
    nonzeros: int
    bytes: int
    flops: int


@dataclass(frozen=True, eq=False)
class CutNetwork:
    """What :func:`cut_network` did.

    Attributes:
        network: the cut network.
        plan: what went.
        before, after: the figures of the two networks.
        timing: as :func:`secateur.timing.time` gives it; its latency is empty where nothing was timed.
        path: the file.
        trained: the epochs that the network was trained here before the cut.
        samples: how many training samples criterion, scope and recovery saw.
        notes: what guards, bounds and the surgery did.
        chance: the accuracy of guessing.
        maker: what makes the original network, as Python.
    """

    network: nn.Module
    plan: Plan
    before: Side
    after: Side
    timing: dict[str, Any]
    path: Path
    trained: int
    samples: int
    notes: tuple[str, ...]
    chance: float
    maker: str


def cut_network(config: CutConfig, progress: Progress | None = None) -> CutNetwork:
    """Take or train a network, cut it, win accuracy back, measure both, write the cut one and read it back.

    The file appears when all is done, whole; nothing is left where anything fails or is interrupted.

    Raises:
        SecateurError: anything in the settings, network, data or file that the caller can mend.
        MeasurementError: the compiled network, or the one read back, gives other outputs.
    """
    told = progress or Progress()
    task = problem(config.study)
    chosen = recoveries(config.recoveries)
    samples, count = shown(task, config)
    check_recoveries(chosen, samples)
    check_cuttable(task)
    told.stage("train", steps(task))
    model, _, result = trained(task, config.seed, told)
    told.trained({"seed": config.seed, "parameters": sum(p.numel() for p in model.parameters()),
                  "accuracy": result.accuracy, "loss": result.loss})
    told.stage("cut", 1)
    plan = planned(task, config, model.eval(), samples)
    cut = recover(model, applied(model, plan), plan, chosen, samples, config.seed)
    told.step()
    zeroed = plan.granularity != "neuron"
    timing = timed(task, model, cut, zeroed, str(plan).partition("\n")[0])
    before, after = side(model, task, zeroed), side(cut, task, zeroed)
    path, ungraphed = written(cut, Path(config.out).expanduser(), task, facts(config, plan, before, after, timing))
    return CutNetwork(cut, plan, before, replace(after, bytes=path.stat().st_size), timing, path,
                      task.config.epochs if not config.weights else 0, count,
                      (*plan.notes, *graph.notes(cut), *ungraphed), 1 / task.data.classes, maker(config.model, task))


def maker(model: str, task: Problem) -> str:
    """What makes the original network, as Python."""
    if ":" in model:
        return model.replace(":", ".")
    return f"lambda: secateur.models.resolve('{model}', {task.data.shape}, {task.data.classes})"


def shown(task: Problem, config: CutConfig) -> tuple[Calibration | None, int]:
    """The training samples that criterion, scope and recoveries look at, with their labels, and how many they are."""
    count = max(task.samples_for(config.chosen_criterion, name, config.scope) for name in config.recoveries)
    if not count:
        return None, 0
    x, y = task.shown(count)
    return calibration((x.to(config.device), y.to(config.device))), len(x)


def planned(task: Problem, config: CutConfig, model: nn.Module, samples: Calibration | None) -> Plan:
    """What goes."""
    return Selection(model, config.granularity, config.chosen_criterion, config.scope, task.skip,
                     task.data.test_x[:1].to(device_of(model)), config.seed, task.structure, config.round_to,
                     config.pooling, samples, task.config.layer_settings, config.least, config.most,
                     config.given_budget).plan(config.sparsity)


def side(model: nn.Module, task: Problem, zeroed: bool) -> Side:
    """The figures of a network."""
    found = size(model)
    return Side(evaluate(model, task.data.test_x, task.data.test_y).accuracy, found["parameters"], found["nonzeros"],
                files.file_bytes(model), flops_of(model, task.data.test_x[:1], zeroed))


def timed(task: Problem, model: nn.Module, cut: nn.Module, zeroed: bool, what: str) -> dict[str, Any]:
    """Both networks timed side by side, where batch sizes are given."""
    if not task.config.latency_batches:
        return {"latency": {}}
    x = task.data.test_x

    def inputs(batch: int) -> Tensor:
        return x[torch.arange(batch) % len(x)].contiguous()

    return timing_of(model, cut, zeroed, inputs, task.timing, what)


def facts(config: CutConfig, plan: Plan, before: Side, after: Side, timing: dict[str, Any]) -> dict[str, Any]:
    """What the file tells of how it was made: the settings, what went of every layer, and what was measured."""
    def figures(one: Side) -> dict[str, Any]:
        return {name: value for name, value in asdict(one).items() if name != "bytes"}

    return {"made_by": "secateur prune", "settings": asdict(config) | {"criterion": plan.criterion},
            "plan": {"granularity": plan.granularity, "criterion": plan.criterion, "scope": plan.scope,
                     "sparsity": plan.sparsity, "reached": plan.reached, "layers": plan.layers()},
            "before": figures(before), "after": figures(after), "timing": timing}


def written(cut: nn.Module, path: Path, task: Problem, told: dict[str, Any]) -> tuple[Path, tuple[str, ...]]:
    """Write a cut network under another name, read it back, compare, and only then give it its name.

    Its graph goes into the file where a file can hold it; where it cannot, the second value says why.

    Raises:
        MeasurementError: a tensor or an output of what was read back differs.
    """
    with files.placed(path) as beside:
        ungraphed = saved(cut, beside, task.data.test_x[:2].to(device_of(cut)), told)
        back = files.load(beside, task.make_model).to(device_of(cut)).eval()
        if differ := [n for (n, a), (_, b) in zip(tensors(cut), tensors(back), strict=True) if not torch.equal(a, b)]:
            raise MeasurementError(f"'{path}' is not written: read back, {len(differ)} tensors differ, {differ[0]} one")
        x = task.data.test_x[:COMPARED].to(device_of(cut))
        with torch.inference_mode():
            if not torch.equal(cut.eval()(x), back(x)):
                raise MeasurementError(f"'{path}' is not written: read back, it gives other outputs")
    return path, ungraphed


def saved(cut: nn.Module, path: Path, example: Tensor, told: dict[str, Any]) -> tuple[str, ...]:
    """Write the file, with the network's graph where that can be; gives why it cannot."""
    try:
        files.save(cut, path, example, settings=told)
    except UnsupportedError as error:
        files.save(cut, path, settings=told)
        return (f"the file holds no graph, so it loads with make_model only: {error}",)
    return ()
