"""One network cut, measured before and after, and written to a file that was read back and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from secateur import files, graph
from secateur.core.machine import busy
from secateur.core.progress import Progress
from secateur.core.types import Plan
from secateur.data.calibration import Calibration
from secateur.data.datasets.base import Dataset
from secateur.data.samples import read
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.output import check_form, is_secateurs, written
from secateur.experiment.single.task import Case, Labelled, Unlabelled
from secateur.experiment.timing import time as timing_of
from secateur.measure.agreement import Closeness
from secateur.measure.flops import flops_of
from secateur.measure.size import size
from secateur.models import resolve
from secateur.models.resolve import Options, Source
from secateur.pruning.apply import applied
from secateur.pruning.checks import REFIT, underdetermined_layers
from secateur.pruning.selection import Selection
from secateur.recovery.pipeline import check_recoveries, recover, recoveries


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two networks: accuracy on the test part in [0, 1] (None without labels), sizes, FLOPs of one sample,
    zeros not counted.

    ``bytes`` are those of the file that :func:`secateur.save` writes of the tensors alone; where another form is
    written, which stores zeros like other values, those of the tensors themselves.
    """

    accuracy: float | None
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
        closeness: how near its outputs are to the original's, where there are no labels.
        timing: as :func:`secateur.experiment.timing.time` gives it; its latency is empty where nothing was timed.
        path: the file.
        trained: the epochs that the network was trained here before the cut.
        samples: how many samples criterion, scope and recovery saw.
        notes: what guards, bounds and the surgery did, and what is to be known of network and data.
        chance: the accuracy of guessing; None without labels.
        again: what loads the file, as Python.
    """

    network: nn.Module
    plan: Plan
    before: Side
    after: Side
    closeness: Closeness | None
    timing: dict[str, Any]
    path: Path
    trained: int
    samples: int
    notes: tuple[str, ...]
    chance: float | None
    again: str


def cut_network(config: CutConfig, progress: Progress | None = None) -> CutNetwork:
    """Take or train a network, cut it, win accuracy back, measure both, write the cut one and read it back.

    The file appears when all is done, whole; nothing is left where anything fails or is interrupted.

    Raises:
        SecateurError: anything in the settings, network, data or file that the caller can mend.
        ImportError: a package that reads the network is not installed.
        MeasurementError: the compiled network, or the one read back, gives other outputs.
    """
    told, path = progress or Progress(), Path(config.out).expanduser()
    case = opened(config)
    check_form(path, case.kind, config.granularity != "neuron")
    chosen = recoveries(config.recoveries)
    samples, count = case.shown()
    check_recoveries(chosen, samples)
    model = case.trained(told)
    told.stage("cut", 1)
    plan = planned(case, model.eval(), samples)
    recovered = recover(model, applied(model, plan), plan, chosen, samples, config.seed)
    cut = recovered.network
    told.step()
    zeroed = plan.granularity != "neuron"
    crowd = busy() if case.timing.batches else ()
    timing = timed(case, model, cut, zeroed, str(plan).partition("\n")[0])
    near = case.closeness(model, cut)
    before, after = side(model, case, zeroed), side(cut, case, zeroed)
    again, ungraphed = written(cut, path, case, facts(config, plan, before, after, timing))
    return CutNetwork(cut, plan, before, after, near, timing, path,
                      config.training if case.chance else 0, count,
                      (*case.notes, *plan.notes, *underdetermined_layers(recovered.rows, REFIT),
                       *graph.notes(cut), *ungraphed, *crowd),
                      case.chance, again)


def facts(config: CutConfig, plan: Plan, before: Side, after: Side, timing: dict[str, Any]) -> dict[str, Any]:
    """What the file tells of how it was made: the settings, what went of every layer, and what was measured."""
    def figures(one: Side) -> dict[str, Any]:
        return {name: value for name, value in asdict(one).items() if name != "bytes"}

    return {"made_by": "secateur prune", "settings": asdict(config) | {"criterion": plan.criterion},
            "plan": {"granularity": plan.granularity, "criterion": plan.criterion, "scope": plan.scope,
                     "sparsity": plan.sparsity, "reached": plan.reached, "layers": plan.layers()},
            "before": figures(before), "after": figures(after), "timing": timing}


def opened(config: CutConfig) -> Case:
    """The network and the data that the settings name."""
    kind, found = resolve.kind_of(config.model), dict[int, Source]()

    def source(data: Dataset | None = None) -> Source:
        if id(data) not in found:
            shape, classes = (data.shape, data.classes) if data else ((), 0)
            options = Options(config.factory, config.weights, config.example, shape, classes)
            found[id(data)] = resolve.find(config.model, options)
        return found[id(data)]

    if not config.chosen_data:
        return Unlabelled(config, kind, source(), None)
    batch = source().batch if kind.suffix == ".pt2" else 0
    given = read(config.chosen_data, lambda: source().encode, batch)
    if isinstance(given, Dataset):
        return Labelled(config, kind, source(given), given)
    return Unlabelled(config, kind, source(), given)


def planned(case: Case, model: nn.Module, samples: Calibration | None) -> Plan:
    """What goes."""
    return Selection(model, case.config.spec(case.skip), samples=samples, example=case.example_on(model),
                     structure=case.structure, outputs=()).plan(case.config.sparsity)


def side(model: nn.Module, case: Case, zeroed: bool) -> Side:
    """The figures of a network."""
    found = size(model)
    ours = is_secateurs(Path(case.config.out), case.kind)
    stored = files.file_bytes(model) if ours else found["bytes"]
    return Side(case.accuracy(model), found["parameters"], found["nonzeros"], stored,
                flops_of(model, case.example, zeroed))


def timed(case: Case, model: nn.Module, cut: nn.Module, zeroed: bool, what: str) -> dict[str, Any]:
    """Both networks timed side by side, where batch sizes are given."""
    if not case.timing.batches:
        return {"latency": {}}
    return timing_of(case.timed_as(model), case.timed_as(cut), zeroed, case.timed_with, case.timing, what)
