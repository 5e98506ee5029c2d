"""``secateur bench FILE``: the engines in their processes, and what is not timed."""

import io
import json
import math
import shutil
from dataclasses import asdict
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from support import HereWorker, sweep, tiny
from torch import nn
from typer.testing import CliRunner

import secateur as sc
from secateur.bench import BenchConfig, Subject, bench, memory
from secateur.bench.child import Child, serve
from secateur.bench.points import CUT, ORIGINAL, Run, points
from secateur.bench.run import DRAWN, FILLED, GONE, GRAPH, ROUNDED, SHARED, WHOLE, Case
from secateur.bench.samples import NO_DATA
from secateur.bench.worker import Worker, WorkerError
from secateur.cli import app
from secateur.core.errors import SecateurError
from secateur.engines.base import Engine


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a network cut of weights and one cut of neurons."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    sc.save(sc.prune(tiny(), 0.75, skip=()), folder / "sparse.safetensors")
    small = sc.prune(tiny(), 0.5, granularity="neuron", criterion="l2", example=torch.rand(2, 1, 4, 4))
    sc.save(small, folder / "small.safetensors")
    return folder


@pytest.fixture(autouse=True)
def there(saved, tmp_path, monkeypatch):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def subject(file, **given):
    return Subject.parse(file, model="support:tiny", **given)


def case(file, folder, **given):
    return Case(subject(file, **given), BenchConfig(batches=(1, 3)), folder)


@pytest.mark.parametrize("engines", sweep([(("torch", "sparse"),), (("sparse",),)], lambda case: len(case[0]) == 1))
def test_every_engine_is_timed_in_its_own_process(engines):
    told = []
    found = bench(subject("sparse.safetensors", shape=(1, 4, 4)),
                  BenchConfig(batches=(3,), seconds=0.02, engines=engines), told.append)
    assert json.loads(json.dumps(found))["points"] == found["points"]
    assert found["refused"] == []
    assert [(p["network"], p["engine"], p["batch"]) for p in found["points"]] == [
        *(("original", name, 3) for name in engines), ("cut", "sparse", 3)]
    for p in found["points"]:
        assert 0 < p["p50"] <= p["p90"] <= p["p99"]
        assert p["calls"] >= 10
        assert p["error"] < 1e-4
    assert [m["weights_bytes"] for m in found["memory"]] == [320 * 4] * (len(engines) + 1)
    assert (found["network"]["cut"], found["network"]["nonzeros"]) == ("weight", 80)
    assert "fastest at batch" in found["verdict"]
    assert any(f"timing {len(engines) + 1} engines at batch 3" in line for line in told)


def test_the_original_of_a_file_is_made_filled_or_not_there(tmp_path, monkeypatch):
    made = case("small.safetensors", tmp_path)
    assert (made.cut, made.original[1].weight.shape, made.fill) == ("neuron", (12, 16), False)
    assert made.inputs[3][0].shape == (3, 1, 4, 4)
    whole = Case(Subject(model="support:tiny", shape=(1, 4, 4)), BenchConfig(batches=(1,)), tmp_path)
    assert (whole.cut, whole.notes, whole.networks(engine("torch"))) == ("", [WHOLE], [ORIGINAL])
    assert "bytes_before" not in whole.facts()
    assert made.networks(engine("torch")) == made.networks(engine("sparse")) == [ORIGINAL, CUT]
    monkeypatch.setattr(Subject, "original", lambda self: None)
    alone = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    assert (alone.fill, alone.notes, "bytes_before" in alone.facts()) == (True, [FILLED, SHARED], False)
    assert [alone.networks(engine(n)) for n in ("torch", "sparse")] == [[ORIGINAL], [ORIGINAL, CUT]]
    assert all(torch.count_nonzero(p) == p.numel() for p in alone.original.parameters())
    assert torch.count_nonzero(alone.network[1].weight) < alone.network[1].weight.numel()
    gone = case("small.safetensors", tmp_path)
    assert (gone.fill, gone.notes, gone.networks(engine("torch"))) == (False, [GONE], [CUT])
    net = sc.prune(nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)), 0.75, skip=())
    sc.save(net, "graph.safetensors", example=torch.rand(2, 1, 4, 4))
    graph = Case(Subject.parse("graph.safetensors"), BenchConfig(batches=(1, 3)), tmp_path)
    assert (graph.notes, graph.cut, graph.inputs[3][0].shape) == ([FILLED, GRAPH, SHARED], "weight", (3, 1, 4, 4))
    assert torch.equal(graph.network(graph.inputs[3][0]), net(graph.inputs[3][0]))


SPARSE = Run("sparse", CUT)


def engine(name):
    from secateur.core import registry

    return registry.get("engines", name)()


class Wrong:
    """A worker that gives outputs with one value moved by a part of the largest."""

    def __init__(self, network, inputs, by):
        self.network, self.inputs, self.by = network, inputs, by

    def ask(self, do, batch, path=None, seconds=0.0):
        if do == "time":
            raise WorkerError("its process ended with code -9")
        out = self.network(*self.inputs[batch]).detach().clone()
        out[-1, -1] += self.by * float(out.abs().max())
        save_file({"0": out}, path)


def test_an_engine_whose_outputs_differ_is_not_timed_but_told(tmp_path):
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    near = made.check_outputs(SPARSE, Wrong(made.network, made.inputs, 5e-5), 1, 3)
    assert (near["error"], near["precision"]) == (pytest.approx(5e-5, rel=0.1), "float32")
    assert made.check_outputs(SPARSE, Wrong(made.network, made.inputs, 5e-3), 1, 3) is None
    assert made.check_outputs(SPARSE, Wrong(made.network, made.inputs, math.nan), 1, 3) is None
    assert [r["batch"] for r in made.refusals] == [3, 3]
    assert "differ from torch's by 0.005 of the largest" in made.refusals[0]["reason"]
    wrong = Wrong(made.network, made.inputs, 0.0)
    assert made.turns({Run("torch", ORIGINAL): wrong, SPARSE: wrong}, 1, 1) == {}
    assert made.refusals[-1]["reason"] == "its process ended with code -9"


class Rounded:
    """A worker of an engine of less precision: its ways multiply the outputs by a factor each."""

    def __init__(self, network, folder, ways):
        self.network, self.folder, self.ways = network, folder, ways

    def ask(self, do, way, files, path):
        if self.ways[way] is None:
            raise WorkerError("it cannot")
        inputs = [load_file(self.folder / f"{file}.safetensors")["0"] for file in files]
        save_file({f"{k}.0": self.network(x).detach() * self.ways[way] for k, x in enumerate(inputs)}, path)


class Coarse(Engine):
    """An engine of less precision."""

    def precision(self):
        return "int8"


def test_less_precision_is_compared_on_samples_and_what_is_too_far_is_marked(tmp_path):
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    compared = made.compared

    def choose(**factors):
        worker = Rounded(made.network, tmp_path, factors)
        found = compared.choose(SPARSE, Coarse(), worker, made.network, [*factors])
        compared.take(SPARSE, {3: found[0][0]})
        return found

    # Outputs times 1.1 are off by a tenth of their norm, those times 2 by all of it.
    assert choose(a=1.1, b=2.0, c=None, d=math.nan) == (["a"], [
        "c: it cannot", "d: its outputs are not finite", "b: less exact than is tolerated (relative error 1)"])
    assert compared.judge(SPARSE, 3, 0.0) == {"agreement": {
        "error": pytest.approx(0.1), "cosine": pytest.approx(1.0), "samples": 64, "same": 1.0}}
    assert choose(b=2.0) == (["b"], [])
    assert compared.judge(SPARSE, 3, 0.0)["ruined"] is True
    assert compared.judge(SPARSE, 1, 0.0) == {}
    with pytest.raises(WorkerError, match="c: it cannot"):
        choose(c=None)
    assert compared.choose(SPARSE, Engine(), None, made.network, ["x", "y"]) == (["x", "y"], [])


def test_outputs_without_floats_are_judged_by_their_largest_difference(tmp_path):
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    made.compared.near = {(SPARSE, 3): None}
    assert made.compared.judge(SPARSE, 3, 0.1) == {}
    assert made.compared.judge(SPARSE, 3, 0.5) == {"ruined": True}


class TwoWays(Engine):
    """An engine with two ways, of which the first takes no network."""

    def ways(self, network):
        return ("closed", "open")

    def convert(self, network, inputs, folder, way=""):
        if way == "closed":
            raise ValueError("no such operator")
        path = folder / way
        path.write_text("")
        return path


def test_a_way_that_takes_no_network_is_told_and_the_other_is_run(tmp_path):
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    run = Run("two", ORIGINAL)
    assert made.convert(run, TwoWays(), 1) == ({"open": str(tmp_path / "original" / "open")},
                                               {"open": str(tmp_path / "tiny" / "open")})
    assert [(r["engine"], r["network"], r["reason"]) for r in made.refusals] == [
        ("two", "original", "closed cannot be converted: ValueError: no such operator")]
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    alone = type("OneWay", (TwoWays,), {"ways": lambda self, network: ("closed",)})()
    with pytest.raises(WorkerError, match="closed cannot be converted: ValueError: no such operator"):
        made.convert(run, alone, 1)


def test_figures_are_those_of_the_calls():
    rounds = {Run("torch", ORIGINAL): [[4.0, 4.0], [6.0, 2.0]], SPARSE: [[1.0, 3.0], [1.0]]}
    dense, sparse = points(rounds, {run: {"error": 0.0} for run in rounds}, 2, 8)
    assert (dense["network"], sparse["network"], sparse["against"]) == ("original", "cut", "original torch")
    assert (dense["rounds"], sparse["rounds"]) == ([4.0, 4.0], [2.0, 1.0])
    assert (dense["p50"], dense["calls"], dense["samples_per_s"], "speedup" in dense) == (4.0, 4, 32 / 16, False)
    assert (sparse["p50"], sparse["calls"], sparse["samples_per_s"]) == (1.0, 3, 24 / 5)
    assert sparse["speedup"] == np.median([4 / 2, 4 / 1])
    assert list(points({}, {}, 1, 1)) == []


def test_a_child_answers_line_by_line(tmp_path):
    made = case("sparse.safetensors", tmp_path, shape=(1, 4, 4))
    order = {"engine": "torch", "threads": 1, "folder": str(tmp_path), "files": {"": ""}, "tiny": {"": ""},
             "network": "pruned", "names": (), "cut": "", "subject": asdict(made.subject)}
    lines = [json.dumps(o) for o in ({"do": "prepare", "batches": [1, 3], "ways": [""]},
                                     {"do": "time", "batch": 3, "seconds": 0.0},
                                     {"do": "outputs", "batch": 3, "path": str(tmp_path / "o")},
                                     {"do": "time", "batch": 7, "seconds": 0.0})]
    out = io.StringIO()
    serve(Child(order), lines, out)
    prepared, timed, written, failed = map(json.loads, out.getvalue().splitlines())
    assert (prepared["weights_bytes"], prepared["version"]) == (1280, metadata.version("torch"))
    assert (len(timed["seconds"]), written) == (1, {})
    assert "7.safetensors" in failed["error"]


def test_a_process_that_ends_says_why(tmp_path):
    worker = Worker({"engine": "nosuch", "threads": 1})
    with pytest.raises(WorkerError, match="its process ended with code 1: .*"):
        worker.ask("prepare", batches=[1])
    worker.close()


def test_memory_sees_what_is_held():
    before = memory.reset_peak()
    if before is None:
        pytest.skip("no /proc here")
    block = torch.ones(1 << 24)
    assert memory.peak() - before > 60e6
    del block
    memory.trim()
    assert memory.resident() < memory.peak()


@pytest.mark.parametrize(("words", "message"), [
    (["missing.safetensors"], "there is no such file"), (["mlpp"], "did you mean 'mlp'"),
    (["sparse.safetensors"], "--factory pkg.module:factory"),
    (["sparse.safetensors", "--model", "support:tiny"], "inputs of 'sparse.safetensors' are not known: give --shape"),
    (["sparse.safetensors", "--model", "support:tiny", "--shape", "1,4,x"], "shape 'x': allowed is a whole number"),
    (["sparse.safetensors", "--model", "mlp"], "sparse.safetensors"),
    (["sparse.safetensors", "--sparsity", "0.5"], "with a file"), (["mlp", "--model", "mlp"], "with a file only"),
    (["mlp", "--sparsity", "0.5,0.9"], "one fraction in"), (["mlp", "--batch", "0"], "batch 0: allowed is 1 or more"),
    (["mlp", "--threads", "a"], "threads 'a': allowed is a whole number"),
    (["mlp", "--seconds", "0"], "seconds 0.0: allowed is a number above 0"),
    (["mlp", "--engines", "spars"], "did you mean 'sparse'"), (["mlp", "--batch", "2,2"], "2 is given twice")])
def test_mistakes_are_one_line(words, message):
    error = CliRunner().invoke(app, ["bench", *words]).exception
    assert isinstance(error, SecateurError), error
    assert message in str(error)
    assert "\n" not in str(error)


def labelled(path):
    """Samples whose class is the largest of four sums of pixels, and a network that computes them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(96, 1, 4, 4, generator=generator)
    y = x.reshape(96, 4, 4).sum(2).argmax(1)
    np.savez(path, train_x=x[:64], train_y=y[:64], test_x=x[64:], test_y=y[64:])


def sums():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False))
    network[1].weight.data = torch.block_diag(*[torch.ones(1, 4)] * 4)
    return network


@pytest.mark.parametrize("name", ["onnxruntime-int8", "torch-bf16"])
def test_less_precision_is_compared_on_samples_with_labels(name, tmp_path, monkeypatch):
    if reasons := engine(name).refusals():
        pytest.skip(reasons[0])
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    labelled(tmp_path / "x.npz")
    found = bench(Subject(model=f"{__name__}:sums", data=str(tmp_path / "x.npz")),
                  BenchConfig(batches=(1, 5), seconds=0.01, engines=("torch", name)))
    assert found["refused"] == [] and not any("--data" in note for note in found["notes"])
    rounded = [p for p in found["points"] if p["engine"] == name]
    assert [p["batch"] for p in rounded] == [1, 5]
    for point in rounded:
        near = point["agreement"]
        assert point["precision"] == {"torch-bf16": "bfloat16"}.get(name, "int8")
        assert near["accuracy"][0] == 1.0 and near["accuracy"][1] == near["same"] >= 0.9
        assert 0 < near["error"] < 0.02 and near["samples"] == 32
        assert "ruined" not in point or near["same"] < 0.95
    assert ("agreement" in found["points"][0]) is False
    json.dumps(found, allow_nan=False)


def test_what_is_in_eight_bits_is_not_rounded_again(monkeypatch):
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    for name in ("onnxruntime-int8", "openvino-int8", "torch-bf16"):
        monkeypatch.setattr(type(engine(name)), "refusals", lambda _: [])
    x = torch.rand(64, 1, 4, 4)
    sc.save(sc.quantize(tiny(), x, keep=()), "int8.safetensors", example=x[:2])
    found = bench(Subject(file="int8.safetensors"), BenchConfig(
        batches=(2,), seconds=0.01, engines=("torch", "torch-bf16", "onnxruntime-int8", "openvino-int8")))
    assert {one["engine"]: one["reason"] for one in found["refused"]} == dict.fromkeys(
        ("torch-bf16", "onnxruntime-int8", "openvino-int8"), ROUNDED)
    assert [p["engine"] for p in found["points"]] == ["torch"]


def test_random_inputs_in_place_of_samples_are_told(tmp_path, monkeypatch):
    if reasons := engine("torch-bf16").refusals():
        pytest.skip(reasons[0])
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    found = bench(Subject(model=f"{__name__}:sums", shape=(1, 4, 4)),
                  BenchConfig(batches=(1,), seconds=0.01, engines=("torch-bf16",)))
    assert sum("random inputs" in note and "--data" in note for note in found["notes"]) == 1
    assert found["points"][0]["agreement"]["samples"] == 64


def test_weights_that_a_factory_draws_are_told(tmp_path, monkeypatch):
    if reasons := engine("torch-bf16").refusals():
        pytest.skip(reasons[0])
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    save_model(tiny(), "trained.safetensors")
    for given, told in ({}, True), ({"weights": "trained.safetensors"}, False):
        found = bench(subject("sparse.safetensors", shape=(1, 4, 4), **given),
                      BenchConfig(batches=(1,), seconds=0.01, engines=("torch-bf16",)))
        assert (DRAWN in found["notes"]) == told
        assert NO_DATA.format("random inputs") in found["notes"]


def test_the_cut_is_compared_with_the_original_on_ones_own_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    labelled(tmp_path / "x.npz")
    found = bench(Subject(model=f"{__name__}:sums", data=str(tmp_path / "x.npz"), sparsity=0.8),
                  BenchConfig(batches=(1,), seconds=0.01, engines=("torch",)))
    near = found["network"]["agreement"]
    # Of 64 weights the 51 smallest go: of 48 zeros and 16 ones, in order, the zeros and the first three ones.
    cut, x = sums(), torch.from_numpy(np.load(tmp_path / "x.npz")["test_x"])
    cut[1].weight.data[0, :3] = 0
    with torch.no_grad():
        whole, part = sums()(x).double(), cut(x).double()
    assert near["error"] == pytest.approx(float((whole - part).norm() / whole.norm()))
    assert near["same"] == float((whole.argmax(1) == part.argmax(1)).double().mean()) == near["accuracy"][1]


def test_a_network_of_one_batch_size_is_compared_in_such_batches(tmp_path):
    from secateur.bench.samples import samples_of

    class Five(nn.Module):
        def forward(self, x):
            return x.view(5, 16).sum(1, keepdim=True)

    program = torch.export.export(Five(), (torch.rand(5, 16),))
    torch.export.save(program, "five.pt2")
    one = Subject(model="five.pt2", trust=True)
    found = samples_of(one, one.pruned_network(), None)
    assert [len(batch) for batch in found.held] == [5] and found.shown[0].shape == (5, 16)
    with pytest.raises(SecateurError, match="accepts batches of 5 only: use --batch 5"):
        Case(one, BenchConfig(batches=(1,)), tmp_path)
