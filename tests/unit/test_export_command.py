"""``secateur export``: a network of a run made again, the network of a file, mistakes."""

import base64
import json
import shutil
import sqlite3
import sys
from html import escape

import numpy as np
import pytest
import torch
from support import blobs, tiny

import secateur as sc
from secateur.cli import main
from secateur.core import registry
from secateur.experiment.rebuild import remake
from secateur.files.exporters.onnx_ import session_of

SETTINGS = {"model": "support:tiny", "data": "support:blobs", "sparsity": (0.0, 0.5, 0.8), "seeds": 2, "epochs": 2,
            "latency_batches": (), "best": False, "criterion": ("magnitude", "l2"), "recovery": ("none", "reconstruct")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return sc.study(config=sc.StudyConfig(**SETTINGS), out=folder)


@pytest.fixture
def typed(tmp_path, monkeypatch, capfd):
    """Runs a command in a folder of its own: exit code, output, error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["secateur", "export", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            main()
        out, err = capfd.readouterr()
        return done.value.code or 0, out, err

    return call


@pytest.mark.parametrize(("granularity", "criterion", "recovery", "seed"), [
    ("weight", "magnitude", "reconstruct", 1), ("neuron", "l2", "none", 0)])
def test_a_network_of_a_run_is_the_one_that_was_measured(run, granularity, criterion, recovery, seed):
    asked = {"sparsity": 0.5, "granularity": granularity, "criterion": criterion, "recovery": recovery, "seed": seed}
    row = next(p for p in run.points if all(p[k] == v for k, v in asked.items()))
    made = remake(run.folder, asked, trusted=True)
    x, y = blobs()[2:]
    right = (made.network(x).argmax(1) == y).numpy()
    assert np.array_equal(right, np.unpackbits(np.frombuffer(row["correct"], np.uint8), count=len(y)).astype(bool))
    assert sum(int(p.count_nonzero()) for p in made.network.parameters()) == row["nonzeros"]
    assert made.row["accuracy"] == made.accuracy == row["accuracy"]


def test_a_run_of_whole_numbers_is_made_again(tmp_path):
    settings = {**SETTINGS, "sparsity": (0, 0.5), "lr": 1, "min_sparsity": 0, "max_sparsity": 1, "seeds": 1,
                "epochs": 1}
    sc.study(config=sc.StudyConfig(**settings), out=tmp_path)
    made = remake(tmp_path, {"sparsity": 0.5, "granularity": "neuron", "recovery": "none"}, trusted=True)
    assert made.accuracy == made.row["accuracy"]


def test_the_command_exports_it_and_tells_its_accuracy(run, typed, tmp_path):
    code, out, err = typed(run.folder, "--trust", "--sparsity", 0.8, "--granularity", "neuron", "--recovery", "none")
    assert (code, err) == (0, "")
    row = next(p for p in run.points if (p["granularity"], p["sparsity"], p["recovery"], p["seed"]) == (
        "neuron", 0.8, "none", 0))
    assert f"test accuracy: {row['accuracy']:.4f} for the file, {row['accuracy']:.4f} in the run" in out
    assert "batches of 2, 1, 5" in out
    session = session_of(tmp_path / "tiny-neuron-0.8.onnx")
    x, y = blobs()[2:]
    got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].argmax(1)
    assert (got == y.numpy()).mean() == pytest.approx(row["accuracy"])
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-neuron-0.8.onnx"]


def test_the_report_of_a_run_is_one_page_with_its_answer(run, typed, tmp_path):
    from secateur.report.gather import gather_results
    from secateur.report.sentences import headline

    code, out, _ = typed(run.folder, "--to", "report", "--out", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert code == 0 and "page.html" in out
    assert escape(headline(gather_results(run))) in page
    assert page.startswith("<!doctype html>") and "<script src" not in page
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(("words", "message"), [
    ([], "choose a network of .*--sparsity 0 or 0.5 or 0.8"),
    (["--sparsity", "0.5"], "choose one with --granularity neuron or weight"),
    (["--sparsity", "0.7"], "no network with sparsity 0.7: allowed here: 0 or 0.5 or 0.8"),
    (["--sparsity", "0.5", "--granularity", "weight"], "choose one with --recovery none or reconstruct"),
    (["--sparsity", "0", "--seed", "7"], "no network with seed 7"), (["--to", "onxx"], "did you mean 'onnx'"),
    (["--sparsity", "0", "--out", "x.pt2"], "ends in .onnx"),
    (["--sparsity", "0", "--model", "mlp"], "--factory must be the run's own"),
    (["--sparsity", "0", "--to", "pt2", "--int8"], "allowed is int8 with onnx"),
    (["--sparsity", "0", "--narrow"], "--narrow without --int8"),
    (["--sparsity", "0", "--out", "none/x.onnx"], "there is no folder 'none'"), (["--sparsity", "half"], "sparsity")])
def test_a_mistake_with_a_run_is_one_line_and_leaves_nothing(run, typed, tmp_path, words, message):
    code, _, err = typed(run.folder, "--trust", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert message.split(".*")[-1] in err
    assert not list(tmp_path.iterdir())


def copied(run, tmp_path):
    """The run's folder, to be spoilt."""
    return shutil.copytree(run.folder, tmp_path / "copy")


def test_a_run_that_no_longer_fits_is_refused(run, typed, tmp_path):
    folder = copied(run, tmp_path)
    with sqlite3.connect(folder / "rows.sqlite") as db:
        for key, text in db.execute("SELECT key, figures FROM rows WHERE kind = 'point'").fetchall():
            figures = json.loads(text)
            bits = np.frombuffer(base64.b64decode(figures["correct"]["base64"]), np.uint8).copy()
            bits[0] ^= 1
            figures["correct"]["base64"] = base64.b64encode(bits.tobytes()).decode()
            db.execute("UPDATE rows SET figures = ? WHERE key = ?", (json.dumps(figures), key))
    code, _, err = typed(folder, "--trust", "--sparsity", "0")
    assert code == 2
    assert "predicts 1 of 128 test samples differently than its row says" in err
    for path in (folder / "networks").iterdir():
        path.unlink()
    assert "no longer holds its trained network" in typed(folder, "--trust", "--sparsity", "0")[2]


def test_a_file_of_ours(typed, tmp_path):
    torch.manual_seed(0)
    net = tiny().eval()
    x = torch.rand(3, 1, 4, 4)
    small = sc.prune(net, 0.5, granularity="neuron", criterion="l2", recovery="none", example=x, skip=["5"])
    sc.save(small, tmp_path / "small.safetensors")
    code, out, err = typed("small.safetensors", "--model", "support:tiny", "--to", "pt2")
    assert (code, err) == (0, "")
    assert "input [batch, 1, 4, 4]" in out
    again = torch.export.load(tmp_path / "small.pt2").module()
    assert torch.allclose(again(x), small(x), atol=1e-6)
    code, _, err = typed("small.safetensors", "--model", "support:tiny", "--to", "pt2")
    assert code == 2 and "--force" in err
    code, out, _ = typed("small.safetensors", "--model", "support:tiny", "--to", "safetensors")
    assert code == 0 and (tmp_path / "small-dense.safetensors").exists() and "bit for bit" in out
    code, _, err = typed("small.safetensors", "--model", "support:tiny", "--to", "safetensors", "--force", "--out",
                         "small.safetensors")
    assert code == 2 and "is the source itself" in err


@pytest.mark.parametrize(("words", "message"), [
    (["missing.safetensors"], "there is no such file"),
    (["plain.safetensors", "--model", "support:tiny"], "plain.safetensors"),
    (["ours.safetensors"], "--factory pkg.module:factory"), (["ours.safetensors", "--sparsity", "0.5"], "can be used "
                                                                                                        "with a run "
                                                                                                        "only"),
    (["ours.safetensors", "--to", "report"], "needs the folder of a study"), (["."], "holds no run"),
    (["ours.safetensors", "--model", "support:tiny"], "inputs of 'ours.safetensors' are not known: give --shape")])
def test_a_mistake_with_a_file_is_one_line_and_leaves_nothing(typed, tmp_path, words, message):
    sc.save(tiny(), tmp_path / "ours.safetensors")
    (tmp_path / "plain.safetensors").write_bytes(b"not one")
    code, _, err = typed(*words, *(["--sparsity", "0"] if words == ["."] else []))
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert {p.name for p in tmp_path.iterdir()} == {"ours.safetensors", "plain.safetensors"}


def test_an_interruption_is_told_and_leaves_nothing(run, typed, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry.get("exporters", "onnx"), "open", stopped)
    code, _, err = typed(run.folder, "--trust", "--sparsity", "0")
    assert code == 130 and "interrupted" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_holds_its_graph_needs_no_factory(typed, tmp_path):
    torch.manual_seed(0)
    network = sc.prune(tiny(), 0.5, skip=["5"]).eval()
    sc.save(network, tmp_path / "w.safetensors", example=torch.rand(2, 1, 4, 4))
    code, out, err = typed("w.safetensors", "--to", "pt2")
    assert (code, err) == (0, "")
    x = torch.rand(3, 1, 4, 4)
    assert torch.allclose(torch.export.load(tmp_path / "w.pt2").module()(x), network(x), atol=1e-6)
