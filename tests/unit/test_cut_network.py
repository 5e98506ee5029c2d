"""``secateur prune``: one cut, its figures against a count by hand, its file, and what is left where it stops."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import blobs, tiny

import secateur as sc
from secateur import files
from secateur.core.errors import MeasurementError
from secateur.core.progress import Progress
from secateur.data import resolve
from secateur.experiment import trial
from secateur.experiment.single import prune as room
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.task import open_cut
from secateur.measure.size import tensors
from secateur.report import pruned as cut_report
from secateur.training.loop import train

BASE = {"model": "support:tiny", "data": "support:blobs", "latency_batches": (), "calibration": 100}


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def cut(**given):
    return room.cut_network(CutConfig(**BASE | given))


@pytest.mark.parametrize(("granularity", "sparsity", "left"), [
    ("weight", 0.5, 144 + 32), ("2x4", 0.5, 144 + 32), ("2:4", None, 144 + 32),
    ("neuron", 0.5, 16 * 6 + 6 * 4 + 4 * 4)])
def test_the_figures_are_those_of_the_file(granularity, sparsity, left):
    done = cut(granularity=granularity, sparsity=sparsity)
    back = sc.load("pruned.safetensors", tiny)
    assert (done.before.parameters, done.before.nonzeros, done.after.nonzeros) == (320, 320, left)
    assert sum(int(torch.count_nonzero(p)) for p in back.parameters()) == left
    assert done.after.flops == 2 * left
    _, _, x, y = blobs()
    assert done.after.accuracy == pytest.approx(float((back(x).argmax(1) == y).float().mean()), abs=1e-6)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(tensors(done.network), tensors(back), strict=True))


def test_a_ruinous_cut_is_told_first_and_the_agreement_is_printed():
    ruined = cut(epochs=5, sparsity=0.97, recovery=("none",))
    assert "the cut is ruinous" in ruined.notes[0] and "skip=" in ruined.notes[0]
    fine = cut(epochs=5, sparsity=0.5, out="fine.safetensors")
    assert not [note for note in fine.notes if "ruinous" in note]
    assert fine.closeness.samples == len(blobs()[2][:1024])
    for done in (ruined, fine):
        assert "outputs, same class" in str(done.comparison)
    assert fine.closeness.lost < 0.1 < 0.9 <= ruined.closeness.lost


def test_the_default_is_the_best_that_needs_no_labels():
    done = cut(granularity="neuron", sparsity=0.5)
    assert (done.plan.criterion, done.samples, done.trained) == ("elimination", 100, 0)
    same = tiny_of_seed(0)
    x, _ = open_cut(CutConfig(**BASE, sparsity=0.5, out="other")).task.training_samples(100)
    expected = sc.prune(same, 0.5, granularity="neuron", data=x, example=blobs()[2][:1], skip=["5"])
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(tensors(done.network), tensors(expected), strict=True))


def tiny_of_seed(seed):
    torch.manual_seed(seed)
    return tiny()


def test_a_network_of_ones_own_is_taken_as_it_comes_unless_epochs_are_given():
    class Heard(Progress):
        steps = 0

        def step(self):
            self.steps += 1

    heard = Heard()
    done = room.cut_network(CutConfig(**BASE, sparsity=0.5, epochs=2), heard)
    assert (done.trained, heard.steps) == (2, 2 * 4 + 1)
    same = tiny_of_seed(0)
    train(same, resolve("support:blobs"), 0, 2)
    _, _, x, y = blobs()
    assert done.before.accuracy == pytest.approx(float((same(x).argmax(1) == y).float().mean()), abs=1e-6)
    assert cut(sparsity=0.5, out="as-it-comes").trained == 0
    assert CutConfig(sparsity=0.5, out="x").training == 5


@pytest.mark.parametrize("data", ["support:blobs", "images.npy"])
def test_the_output_layer_stays_unless_it_is_let_go(data):
    np.save("images.npy", blobs()[2].numpy())
    for skip, layers in ((None, ["1.weight", "3.weight"]), (("3",), ["1.weight"]),
                         ((), ["1.weight", "3.weight", "5.weight"])):
        done = cut(sparsity=0.5, data=data, skip=skip, recovery=("none",), force=True)
        assert [layer["name"] for layer in done.plan.layers()] == layers


def test_weights_from_a_file():
    net = tiny_of_seed(7)
    path = sc.save(net, "trained.safetensors")
    done = cut(sparsity=0.25, recovery=("none",), weights=str(path))
    assert done.samples == 0
    expected = sc.prune(net, 0.25, skip=["5"])
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(tensors(done.network), tensors(expected), strict=True))


@pytest.mark.parametrize(("given", "message"), [
    ({}, "sparsity is missing"), ({"model": "tinny"}, "unknown model 'tinny'"),
    ({"model": "gone.pt2"}, "cannot read 'gone.pt2': there is no such file"),
    ({"model": "support:tinny"}, "did you mean 'tiny'"), ({"model": "nowhere:at"}, "cannot import module 'nowhere'"),
    ({"sparsity": 1.0}, "allowed is a fraction"),
    ({"sparsity": 0.5, "criterion": "l2"}, "criterion l2: none scores granularity 'weight': did you mean 'magnitude'?"),
    ({"sparsity": 0.5, "recovery": ("bst",)}, "did you mean 'best'"),
    ({"sparsity": 0.5, "granularity": "2:4", "scope": "global"}, "scope global: none is defined"),
    ({"sparsity": 0.5, "scope": "budget", "budget": "{flops"}, "is not JSON"),
    ({"sparsity": 0.5, "scope": "budget", "budget": "flop"}, "did you mean 'flops'"),
    ({"sparsity": 0.5, "round_to": 0}, "round_to 0"),
    ({"sparsity": 0.5, "weights": "w", "epochs": 3}, "epochs 3 with weights: allowed is one of them"),
    ({"sparsity": 0.5, "out": "none/x"}, "there is no folder 'none'"),
    ({"sparsity": 0.5, "out": "."}, "it is a folder"),
    ({"sparsity": 0.5, "skip": ("9",)}, "unknown module in skip '9'"),
    ({"sparsity": 0.5, "model": "support:not_a_number"}, "NaN")])
def test_a_mistake_is_one_line_and_leaves_nothing(given, message, tmp_path):
    with pytest.raises(sc.SecateurError) as caught:
        cut(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path):
    path = tmp_path / "pruned.safetensors"
    path.write_text("mine")
    with pytest.raises(sc.SecateurError, match="exists already: name another file, or replace it with --force"):
        cut(sparsity=0.5)
    assert path.read_text() == "mine"
    cut(sparsity=0.5, force=True)
    assert sc.load(path, tiny)


@pytest.mark.parametrize("stopped", ["recover", "load"])
def test_an_interruption_leaves_nothing(stopped, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(*(trial, "recover") if stopped == "recover" else (files, "load"), stop)
    with pytest.raises(KeyboardInterrupt):
        cut(sparsity=0.5)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_file_that_was_asked_for(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(sc.SecateurError, match=r"cannot write 'net.pt2': No space left on device"):
        cut(sparsity=0.5, out="net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_reads_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "load", lambda *_: tiny_of_seed(3))
    with pytest.raises(MeasurementError, match="after reading back, 3 tensors differ"):
        cut(sparsity=0.5)
    assert not list(tmp_path.iterdir())


def test_budgets_bounds_and_layers():
    half = cut(scope="budget", budget='{"parameters": 200}')
    assert half.after.nonzeros <= 200
    own = cut(sparsity=0.5, layers='{"1": {"granularity": "4x1", "sparsity": 0.25}}', out="own")
    assert [layer["sparsity"] for layer in own.plan.layers()] == [0.25, 0.5]
    assert [layer["removed"] for layer in cut(sparsity=0.5, granularity="neuron", round_to=4, out="four").plan.layers()
            ] == [4, 4]


def test_whether_it_pays_is_told_by_the_ratio_that_is_printed():
    done = cut(sparsity=0.5)
    same = {"median": 1.0, "low": 1.0, "high": 1.0}
    way, slow = ({"original": same, "sparse": same | {"speedup": r, "speedup_low": r - 0.1, "speedup_high": r + 0.1}}
                 for r in (2.0, 0.5))
    wide, even = ({"original": same, "sparse": same | {"speedup": r, "speedup_low": r - 0.2, "speedup_high": r + 0.2}}
                  for r in (0.91, 1.01))
    done.timing.update(conditions={"1": {"load": 0.0, "rounds": 9}, "64": {"load": 0.0, "rounds": 9}})
    told = {}
    for name, latency in {"fast": {"1": way}, "slow": {"1": slow}, "both": {"1": slow, "64": way}, "none": {},
                          "wide": {"1": wide}, "even": {"1": even}}.items():
        done.timing.update(latency=latency, engine_used="kernels")
        told[name] = cut_report.verdict(done)
    assert told["fast"].startswith("The cut pays on this machine in float32: the network is faster (2.0× at batch 1), "
                                   "compiled")
    assert told["slow"].startswith("The cut does not pay on this machine in float32: the network is slower (0.50× at "
                                   "batch 1)")
    assert "pays in part" in told["both"] and "slower (0.50× at batch 1) but faster (2.0× at batch 64)" in told["both"]
    assert told["wide"].startswith("The cut buys no speed on this machine in float32: the network is about as fast "
                                   "(0.91×, quartiles 0.71× to 1.11×, at batch 1)")
    assert told["even"].startswith("The cut buys no speed on this machine in float32: the network is about as fast "
                                   "(1.01× at batch 1)")
    assert told["none"].endswith("of the bytes. Its speed was not measured.")
    done.timing.update(latency={"1": way, "64": way}, conditions={"1": {"load": 0.0, "rounds": 9},
                                                                  "64": {"load": 0.2, "rounds": 9}})
    noisy = cut_report.verdict(done)
    assert noisy.startswith("The cut pays on this machine in float32: the network is faster (2.0× at batch 1), ")
    assert any("int8 or bfloat16 may be faster without a cut" in text for text in cut_report.remarks(done))
    assert noisy.endswith("% of the bytes. Its speed at batch 64 is not known: the timing is noisy.")
    done.timing.update(latency={"64": way})
    assert "×" not in cut_report.verdict(done)
    for after, word in ((done.before.bytes // 2, "and"), (done.before.bytes * 2, "but")):
        done.timing.update(latency={"1": way})
        larger = replace(done, after=replace(done.after, bytes=after))
        assert f", {word} stored in {'200' if word == 'but' else '50'}" in cut_report.verdict(larger)
    assert any("better than guessing" in text for text in cut_report.remarks(done)) == (done.before.accuracy < 0.375)


@pytest.mark.parametrize("model", ["support:tiny", "w.safetensors"])
def test_data_that_were_not_asked_for_are_named_where_they_do_not_fit(model):
    save_file(tiny().state_dict(), "w.safetensors")
    factory = "support:tiny" if model.startswith("w") else ""
    with pytest.raises(sc.SecateurError, match="no --data was given, so mnist was used: give --data, or --example"):
        cut(sparsity=0.5, data="", model=model, factory=factory)


def test_data_that_were_not_asked_for_are_named_where_they_fit(monkeypatch):
    from secateur.experiment.single import task

    save_file(tiny().state_dict(), "w.safetensors")
    told = "no --data was given, so mnist was used: choose other data with --data"
    monkeypatch.setattr(task, "read", lambda *_: resolve("support:blobs"))
    for given in ({"model": "support:tiny"}, {"model": "w.safetensors", "factory": "support:tiny"}):
        config = CutConfig(**BASE | given | {"data": "", "sparsity": 0.5})
        assert task.open_cut(config).notes == (told,)
    assert task.open_cut(CutConfig(**BASE, sparsity=0.5)).notes == ()


def test_the_command_line_tells_an_interruption(monkeypatch, capsys):
    from secateur import cli

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "cut_network", stop)
    monkeypatch.setattr(sys, "argv", ["secateur", "prune", "--sparsity", "0.5"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130
    assert "nothing was written. To start over, run again: secateur prune --sparsity 0.5" in capsys.readouterr().err


def test_the_file_runs_by_itself_and_tells_how_it_was_made(tmp_path):
    done = cut(sparsity=0.5, granularity="neuron")
    x, facts = blobs()[2], files.tell(done.path)
    assert torch.equal(sc.load(done.path)(x), done.network(x))
    assert done.after.bytes == files.file_bytes(done.network) < done.path.stat().st_size
    assert facts.settings["settings"]["sparsity"] == 0.5
    assert facts.settings["after"]["accuracy"] == done.after.accuracy
    assert facts.settings["plan"]["layers"] == done.plan.layers()
    assert [(c.name, c.before, c.after) for c in facts.cuts if c.what == "neuron"] == [("1", 12, 6), ("3", 8, 4)]
