"""One network cut, measured before and after, and written to a file that was read back and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from secateur import files
from secateur.core.progress import Progress
from secateur.core.types import Plan
from secateur.experiment.search.result import SearchResult
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.output import check_form, is_secateurs, write_checked
from secateur.experiment.single.task import SingleCut, open_cut
from secateur.experiment.task import LabelledTask
from secateur.experiment.trial import Trial, check_cuttable
from secateur.measure.agreement import Agreement
from secateur.measure.comparison import Comparison, Figures
from secateur.measure.flops import flops_of
from secateur.measure.ruin import ruin
from secateur.measure.size import size
from secateur.measure.speed import speeds
from secateur.recovery.pipeline import check_recoveries, recoveries
from secateur.recovery.quantizing import Quantized
from secateur.recovery.stages import Stage
from secateur.runtime.timing import time_until_quiet


@dataclass(frozen=True, eq=False)
class Quantizing:
    """The step from the cut network in float32 to one in fewer bits.

    Attributes:
        bits: how many.
        accuracy: before and after; None without labels.
        bytes: of the two files.
        closeness: how near the outputs are to those of the cut network in float32, on samples that were not shown.
        samples: how many samples the ranges of activations were taken from.
    """

    bits: int
    accuracy: tuple[float, float] | None
    bytes: tuple[int, int]
    closeness: Agreement
    samples: int


@dataclass(frozen=True, eq=False)
class CutNetwork:
    """What :func:`cut_network` did.

    Attributes:
        network: the cut network.
        plan: what went.
        before, after: the figures of the two networks.
        closeness: how near its outputs are to the original's, on samples that were not shown.
        timing: as :func:`secateur.runtime.timing.time_cut` gives it; its latency is empty where nothing was timed.
        path: the file.
        trained: the epochs that the network was trained here before the cut.
        samples: how many samples criterion, scope and recovery saw.
        stages: what each step of the recovery gained and took.
        quantizing: the step to fewer bits; None where the network stays in float32.
        notes: what guards, bounds and the surgery did, and what is to be known of network and data.
        chance: the accuracy of guessing; None without labels.
        again: what loads the file, as Python.
        search: what was tried, where the cut was searched.
    """

    network: nn.Module
    plan: Plan
    before: Figures
    after: Figures
    closeness: Agreement
    timing: dict[str, Any]
    path: Path
    trained: int
    samples: int
    stages: tuple[Stage, ...]
    quantizing: Quantizing | None
    notes: tuple[str, ...]
    chance: float | None
    again: str
    search: SearchResult | None = None

    @property
    def comparison(self) -> Comparison:
        """The figures of the two networks as one value, which prints as a table."""
        return Comparison(self.before, self.after, self.closeness, speeds(self.timing), part="test")


def cut_network(config: CutConfig, progress: Progress | None = None) -> CutNetwork:
    """Take or train a network, cut it, win accuracy back, measure both, write the cut one and read it back.

    The file appears when all is done, whole; nothing is left where anything fails or is interrupted.

    Raises:
        SecateurError: anything in the settings, network, data or file that the caller can mend.
        ImportError: a package that reads the network is not installed.
        MeasurementError: the compiled network, or the one read back, gives other outputs.
    """
    progress, path = progress or Progress(), Path(config.out).expanduser()
    single = open_cut(config)
    task, point = single.task, single.point
    check_form(path, single.kind, config.granularity != "neuron", config.bits)
    check_recoveries(recoveries(config.recoveries), task.calibration(point.samples))
    trial = Trial(train(single, progress), task)
    progress.stage("cut", 1)
    plan, whole = trial.cut(point.in_float32)
    made = trial.quantize(whole, point) if config.bits != 32 else None
    progress.step()
    notes = (*trial.notes(point.in_float32), *trial.removal_notes(point.in_float32),
             *(made.notes(whole) if made else ()))
    return measure_and_write(single, trial, Steps(plan, whole, made, trial.stages(point.in_float32), notes,
                                                  trial.samples_shown(point)))


@dataclass(frozen=True, eq=False)
class Steps:
    """What was done to a network.

    Attributes:
        plan: what went.
        whole: the cut network in float32.
        quantized: the step to fewer bits; None where there is none.
        stages: what each step of the recovery gained.
        notes: what recovery, surgery and quantising have to say.
        samples: how many samples they saw.
        search: what was tried, where the cut was searched.
    """

    plan: Plan
    whole: nn.Module
    quantized: Quantized | None
    stages: tuple[Stage, ...]
    notes: tuple[str, ...]
    samples: int
    search: SearchResult | None = None


def measure_and_write(single: SingleCut, trial: Trial, done: Steps) -> CutNetwork:
    """Measure a network before and after a cut, and write the cut one to its file."""
    config, task, timing, plan = single.config, single.task, single.timing, done.plan
    cut, path = done.quantized.network if done.quantized else done.whole, Path(config.out).expanduser()
    # Modules in fewer bits show what the arithmetic gives, and not how fast an engine is.
    times = (time_until_quiet(lambda again: trial.time(plan, cut, again), timing)
             if timing.batches and not done.quantized else {"latency": {}})
    near = task.closeness(trial.model, cut)
    before, after = _figures(trial.model, single), _figures(done.whole, single, cut)
    told = facts(config, plan, before, after, times) | ({"search": done.search.plain()} if done.search else {})
    again, graph_notes = write_checked(cut, path, single, told)
    notes = (*filter(None, [ruin(near)]), *single.notes, *trial.output_notes(plan, single.point), *plan.notes,
             *done.notes, *graph_notes)
    return CutNetwork(cut, plan, before, after, near, times, path, config.training if task.chance else 0, done.samples,
                      done.stages, _quantizing(trial, done.whole, cut, after, single) if done.quantized else None,
                      notes, task.chance, again, done.search)


def _quantizing(trial: Trial, whole: nn.Module, cut: nn.Module, after: Figures, single: SingleCut) -> Quantizing:
    """The step from a cut network in float32 to one in fewer bits, whose figures are known."""
    before = _figures(whole, single)
    both = before.accuracy, after.accuracy
    accuracy = None if both[0] is None or both[1] is None else (both[0], both[1])
    return Quantizing(single.config.bits, accuracy, (before.bytes, after.bytes), trial.task.closeness(whole, cut),
                      sum(map(len, trial.task.calibration(single.point.bits_samples) or ())))


def train(single: SingleCut, progress: Progress) -> nn.Module:
    """The network before the cut, trained where that is asked for."""
    task, seed = single.task, single.config.seed
    if isinstance(task, LabelledTask):
        check_cuttable(task, single.point, [single.config.chosen_criterion])
    progress.stage("train", task.steps)
    model, _, result = task.train(seed, progress)
    if result is not None:
        progress.trained({"seed": seed, "parameters": sum(p.numel() for p in model.parameters()),
                          "accuracy": result.accuracy, "loss": result.loss})
    return model


def facts(config: CutConfig, plan: Plan, before: Figures, after: Figures, timing: dict[str, Any]) -> dict[str, Any]:
    """What the file says of how it was made: the settings, what went of every layer, and what was measured."""
    old, new = ({name: value for name, value in asdict(one).items() if name != "bytes"} for one in (before, after))
    settings = {name: value for name, value in asdict(config).items() if name != "trust"}
    return {"made_by": "secateur prune", "settings": settings | {"criterion": plan.criterion},
            "plan": {"granularity": plan.granularity, "criterion": plan.criterion, "scope": plan.scope,
                     "sparsity": plan.sparsity, "reached": plan.reached, "layers": plan.layers()},
            "before": old, "after": new, "timing": timing}


def _figures(model: nn.Module, single: SingleCut, quantized: nn.Module | None = None) -> Figures:
    """The figures of a network, which may run and be stored in fewer bits."""
    network = quantized or model
    counts, result = size(model), single.task.evaluate(network)
    ours = is_secateurs(Path(single.config.out), single.kind)
    file_bytes = files.file_bytes(network) if ours else counts["bytes"]
    return Figures(result.accuracy if result else None, counts["parameters"], counts["nonzeros"], file_bytes,
                   flops_of(model, single.task.example, single.config.granularity != "neuron"))
