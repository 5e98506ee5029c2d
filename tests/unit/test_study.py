"""The sweep: rows computed once, the same however they are computed, and what they say checked by hand."""

import dataclasses
import re
import sqlite3
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import blobs, sweep, tiny

import secateur as sc
from secateur import graph, models
from secateur.core.errors import MeasurementError, SecateurError
from secateur.core.progress import Progress
from secateur.data import dataset
from secateur.experiment.config import StudyConfig
from secateur.experiment.grid import load_grid
from secateur.experiment.run import load_run
from secateur.experiment.store import key_of
from secateur.experiment.study import study

pytestmark = pytest.mark.usefixtures("calm")
SMALL = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                    sparsity=(0.0, 0.5, 0.9), seeds=2, epochs=2,
                    latency_batches=(1, 8), latency_seconds=0.001, engine="csr", samples=4, best=False, timed_seeds=2)


class Count(Progress):
    """How many steps each stage had, over all networks."""

    def __init__(self):
        self.stages = Counter()

    def stage(self, name, total):
        self.stages[name] += total


def rows(folder):
    """All rows but their timing, as the database holds them; the seconds of recoveries are timings, too."""
    with sqlite3.connect(folder / "rows.sqlite") as db:
        found = list(db.execute("SELECT key, kind, settings, figures FROM rows WHERE kind IN ('point', 'anatomy')"))
    return sorted((*row, re.sub(r'"seconds": ?[0-9.e-]+', "", figures)) for *row, figures in found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    return study(config=SMALL, out=folder)


def test_the_structure_is_that_of_the_same_network_whatever_was_drawn_before(monkeypatch):
    seen, trace = [], graph.trace

    def noted(model, example):
        seen.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return trace(model, example)

    monkeypatch.setattr(graph, "trace", noted)
    for seed in (1, 2):
        grid = load_grid(SMALL)
        torch.manual_seed(seed)
        expected = torch.rand(1)
        torch.manual_seed(seed)
        assert grid.task.structure
        assert torch.equal(torch.rand(1), expected)
    assert torch.equal(*seen)


def test_every_point_is_there(run):
    assert len(run.points) == 2 * 4 * 3
    assert {(p["granularity"], p["criterion"], p["control"]) for p in run.points} == {
        ("weight", "magnitude", False), ("weight", "random", True), ("neuron", "l2", False), ("neuron", "random", True)}
    assert len(run.trained) == len(run.weight_statistics) == 2
    assert run.samples["images"].shape == (4, 4, 4)


def test_the_command_of_a_run_says_its_settings(run):
    flags = "--model support:tiny --data support:blobs --sparsity 0.0,0.5,0.9 --uncut-bits '' --no-best --seeds 2"
    assert run.command.startswith(f"secateur study {flags} --epochs 2 --timed-seeds 2 --batch 1,8")
    assert run.command.endswith(f"--engine csr --samples 4 --out {run.folder}")


def test_figures_of_a_point_are_those_of_the_public_functions(run):
    train_x, train_y, test_x, test_y = blobs()
    point = next(p for p in run.points if (p["granularity"], p["criterion"], p["sparsity"], p["seed"]) == (
        "neuron", "l2", 0.5, 1))
    from safetensors.torch import load_model

    net = tiny()
    load_model(net, sorted((run.folder / "networks").glob("*.safetensors"),
                           key=lambda f: f.stem != load_key(run, 1))[0])
    small = sc.prune(net, 0.5, granularity="neuron", example=test_x[:1])
    with torch.no_grad():
        logits = small(test_x)
    assert point["accuracy"] == (logits.argmax(1) == test_y).float().mean().item()
    assert point["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, test_y).item(), rel=1e-5)
    assert point["predictions"] == logits.argmax(1)[:4].tolist()
    assert point["parameters"] == 16 * 6 + 6 * 4 + 4 * 4
    assert point["flops"] == 2 * point["parameters"]
    assert (point["items"], point["removed"], point["reached"]) == (20, 10, 0.5)
    correct = np.unpackbits(np.frombuffer(point["correct"], np.uint8))[:point["tests"]]
    assert correct.mean() == point["accuracy"]


def load_key(run, seed):
    from secateur.experiment.store import Store

    with Store(run.folder) as store:
        return store.meta("run")["trained"][seed]


def test_weights_cut_count_exactly(run):
    point = next(p for p in run.points if (p["criterion"], p["sparsity"]) == ("magnitude", 0.9))
    removed = round(0.9 * 192) + round(0.9 * 96)
    assert point["removed"] == removed
    assert point["nonzeros"] == 192 + 96 + 32 - removed
    assert point["flops_nonzero"] == 2 * point["nonzeros"]
    assert point["flops"] == 2 * 320
    assert point["bytes"] == 320 * 4 > point["bytes_sparse"]


def test_nothing_removed_is_the_dense_network(run):
    for seed in (0, 1):
        zero = [p for p in run.points if p["sparsity"] == 0 and p["seed"] == seed]
        assert {p["accuracy"] for p in zero} == {run.trained[seed]["accuracy"]}


def test_latency_has_every_variant(run):
    for point in run.points:
        names = {"original", "dense", "sparse"} if point["granularity"] == "weight" else {"original", "small"}
        assert set(point["latency"]) == {"1", "8"}
        assert all(set(v) == names for v in point["latency"].values())
        assert (point["sparse_error"] is None) == (point["granularity"] == "neuron")
        assert point["sparse_error"] is None or point["sparse_error"] < 1e-4


def test_a_second_run_does_nothing(run):
    count = Count()
    again = study(config=SMALL, out=run.folder, progress=count)
    assert count.stages == {"train": 0, "measure": 0, "time": 0}
    assert again.points == run.points


def test_a_wider_grid_computes_only_what_is_new(run, tmp_path):
    import shutil

    shutil.copytree(run.folder, tmp_path / "wide")
    count = Count()
    wider = dataclasses.replace(SMALL, sparsity=(0.0, 0.25, 0.5, 0.9))
    wide = study(config=wider, out=tmp_path / "wide", progress=count)
    assert count.stages == {"train": 0, "measure": 2 * 4, "time": 2 * 4}
    assert len(wide.points) == 2 * 4 * 4


@pytest.mark.slow
def test_two_processes_make_the_same_rows(run, tmp_path):
    """Of two points, one of which kills its worker, test_killed_workers.py says the same quickly."""
    study(config=SMALL, out=tmp_path / "jobs", jobs=2)
    assert rows(tmp_path / "jobs") == rows(run.folder)


class Stop(Progress):
    """Interrupts after a number of points, as Ctrl-C does."""

    def __init__(self, points):
        self.points = points

    def point(self, settings, figures):
        self.points -= 1
        if self.points == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("points", sweep([1, 7, 30], {7}.__contains__))
def test_an_interrupted_run_goes_on(run, tmp_path, points):
    with pytest.raises(KeyboardInterrupt):
        study(config=SMALL, out=tmp_path / "cut", progress=Stop(points))
    count = Count()
    study(config=SMALL, out=tmp_path / "cut", progress=count)
    assert count.stages["train"] == (0 if points > 24 else 8)  # 24 rows of the first network come before the second
    assert count.stages["measure"] + count.stages["time"] == 48 - points
    assert rows(tmp_path / "cut") == rows(run.folder)


def test_weights_of_a_network_that_cannot_be_traced(tmp_path):
    config = StudyConfig(model="support:Fickle", data="support:blobs", uncut_bits=(),
                         sparsity=(0.5,), seeds=1, epochs=1,
                         granularity=("weight",), criterion=("magnitude",), latency_batches=(), best=False)
    with pytest.raises(SecateurError, match="--granularity weight --skip NAME"):
        study(config=config, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    (point,) = study(config=dataclasses.replace(config, skip=("last",)), out=tmp_path / "run").points
    assert [(layer["name"], layer["removed"]) for layer in point["layers"]] == [("first.weight", 96)]


def test_only_an_empty_skip_gives_the_output_layer_up(tmp_path):
    config = replace(SMALL, seeds=1, epochs=0, sparsity=(0.5,), granularity=("weight",), criterion=("magnitude",),
                     latency_batches=())
    for skip, names in ((None, ["1.weight", "3.weight"]), ((), ["1.weight", "3.weight", "5.weight"])):
        run = study(config=replace(config, skip=skip), out=tmp_path / "run")
        assert [layer["name"] for point in run.points for layer in point.layers] == names
        assert [layer["name"] for layer in run.weight_statistics[0]["layers"]] == names
        assert StudyConfig.restore(run.config).skip == skip


def test_without_output_layers_to_keep_a_network_need_not_be_traced(tmp_path):
    config = StudyConfig(model="support:Fickle", data="support:blobs", uncut_bits=(),
                         sparsity=(0.5,), seeds=1, epochs=1, skip=(),
                         granularity=("weight",), criterion=("magnitude",), latency_batches=(), best=False)
    (point,) = study(config=config, out=tmp_path / "run").points
    assert [layer["name"] for layer in point.layers] == ["first.weight", "last.weight"]
    with pytest.raises(SecateurError, match="--granularity weight --skip NAME"):
        study(config=replace(config, skip=None), out=tmp_path / "run")


def test_neurons_left_are_a_multiple_and_other_rows_keep_their_keys(tmp_path):
    """Of 12 and 8 neurons at 0.4 round(4.8) = 5 and round(3.2) = 3 go, 7 and 5 stay: 8 and 8 are multiples of 4."""
    config = replace(SMALL, seeds=1, epochs=0, sparsity=(0.0, 0.4), criterion=("magnitude", "l2"), latency_batches=())
    grids = [load_grid(replace(config, round_to=n)) for n in (1, 4)]
    plain, rounded = ([key_of(grid.point_settings(p)) for p in grid.points()] for grid in grids)
    assert [a == b for a, b in zip(plain, rounded, strict=True)] == [True, True, True, False]
    run = study(config=replace(config, round_to=4), out=tmp_path / "run")
    assert [layer["removed"] for layer in run.points[-1].layers] == [4, 0]


def test_own_network_and_data_as_objects(tmp_path):
    from secateur.data import resolve

    config = StudyConfig(sparsity=(0.0, 0.5), seeds=1, epochs=1, latency_batches=())
    run = study(tiny, resolve("support:blobs"), config, out=tmp_path / "own")
    assert run.config["model"] == "support:tiny"
    assert all(p["latency"] is None for p in run.points)
    assert load_run(tmp_path / "own").points == run.points


@pytest.mark.parametrize(("model", "message"), [
    ("support:nothing", "torch.nn.Module"), ("support:wrong_classes", "classes"),
    ("support:tyni", "did you mean 'tiny'"), ("no_such_module:tiny", "cannot import module 'no_such_module'"),
    ("support:not_a_number", "NaN")])
def test_a_model_that_does_not_fit_leaves_nothing(tmp_path, model, message):
    with pytest.raises(SecateurError, match=message) as caught:
        study(config=StudyConfig(model=model, data="support:blobs", uncut_bits=(),
                                 seeds=1, epochs=0), out=tmp_path / "bad")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bad").exists()


def test_a_sparse_engine_that_is_wrong_is_an_error(tmp_path, monkeypatch):
    from secateur import runtime

    class Wrong(runtime.Compiled):
        engine = "csr"

        def __init__(self, model):
            super().__init__()
            self.model = model

        def run(self, x):
            return self.model(x) * 1.001

    monkeypatch.setattr(runtime, "compile", lambda model, example, engine=None: Wrong(model))
    with pytest.raises(MeasurementError, match="differ by 0.001"):
        study(config=StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                                 seeds=1, epochs=1, sparsity=(0.5,),
                                 granularity=("weight",), criterion=("magnitude",)), out=tmp_path / "wrong")


def test_modules_skipped_by_an_expression_are_not_explained(tmp_path):
    run = study(config=replace(SMALL, seeds=1, epochs=0, skip=("[12]",), latency_batches=()), out=tmp_path / "run")
    assert [layer["name"] for layer in run.weight_statistics[0]["layers"]] == ["3.weight"]


def test_another_network_of_the_same_shapes_is_another_row():
    nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4), last)
            for last in (torch.nn.ReLU(), torch.nn.Tanh())]
    data = dataset("blobs", *blobs())
    first, second = (load_grid(SMALL, lambda net=net: net, data).trained_settings(0) for net in nets)
    assert first != second


def test_a_network_of_which_nothing_can_be_cut_is_refused_before_training(tmp_path):
    def make():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))

    with pytest.raises(SecateurError, match="nothing to cut"):
        study(make, dataset("blobs", *blobs()), replace(SMALL, model="mlp", data="mnist"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_network_of_a_run_is_named(tmp_path):
    from secateur.core.errors import RunError
    from secateur.experiment.trial import _tensors

    (tmp_path / "net.safetensors").write_bytes(b"short")
    with pytest.raises(RunError, match=r"net\.safetensors': .* delete it"):
        _tensors(tmp_path / "net.safetensors")


def test_the_bytes_of_a_row_are_those_of_a_file(run, tmp_path):
    net = models.load_weights(tiny(), run.folder / "networks" / f"{load_key(run, 0)}.safetensors")
    for granularity, criterion in (("weight", "magnitude"), ("neuron", "l2")):
        point = next(p for p in run.points if (p["criterion"], p["sparsity"], p["seed"]) == (criterion, 0.5, 0))
        cut = sc.prune(net, 0.5, granularity=granularity, criterion=criterion, skip=["5"], example=torch.rand(1, 1, 4,
                                                                                                              4))
        assert point["nonzeros"] == sum(int(p.count_nonzero()) for p in cut.parameters())
        assert point["bytes_file"] == sc.save(cut, tmp_path / "net.safetensors").stat().st_size
