"""``secateur info FILE`` and ``secateur diff A B``, against counts by hand and what plain safetensors reads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

import secateur as sc
from secateur.cli import app
from secateur.core.errors import SecateurError
from secateur.files.inspect import compare, layers
from secateur.files.inspect.show import show

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


def net():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 64))


def zeroed(rows):
    """The network with all weights of some rows of its last layer zero."""
    made = net()
    with torch.no_grad():
        made[2].weight[rows] = 0
    return made


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"sparsity": 0.75, "by": {"hand": True}}
    sc.save(zeroed(range(48)), "a.safetensors", settings=settings | {"timing": {"ms": 1.5}})
    sc.save(zeroed(range(32, 64)), "b.safetensors", settings={"sparsity": 0.5, "by": {"hand": True}})
    sc.save(sc.prune(net(), 0.5, granularity="neuron", criterion="l1", example=torch.rand(2, 8)), "small.safetensors")


def run(*words):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    return done.exit_code, done.output


def test_layers_are_those_of_a_count_by_hand():
    found = {one.name: one for one in layers("a.safetensors")}
    weight = found["2.weight"]
    assert (weight.before, weight.shape, weight.nonzeros, weight.zeros) == ((64, 6), (64, 6), 96, 0.75)
    # Three tiles of 16 rows by 2 columns, after a gap of nine: twelve bits.
    assert (weight.form, weight.bytes) == ("gaps", 96 * 4 + 2)
    assert (weight.dense_bytes, found["0.bias"].zeros, found["0.bias"].form) == (64 * 6 * 4, 0.0, "dense")
    small = {one.name: one for one in layers("small.safetensors")}
    assert [(small[n].before, small[n].shape) for n in ("0.weight", "0.bias", "2.weight")] == [
        ((6, 8), (3, 8)), ((6,), (3,)), ((64, 6), (64, 3))]
    assert small["2.weight"].sparsity == 0.5


def test_info_shows_tree_table_bytes_settings_and_versions():
    code, text = run("info", "a.safetensors")
    assert code == 0
    assert f"sparsity of the weights {288 / (48 + 384):.4f}" in text
    assert f"{Path('a.safetensors').stat().st_size:,} bytes on disk" in text
    assert f"written by secateur {sc.__version__}, torch {torch.__version__}" in text
    assert "sparsity: 0.75" in text
    assert "by: hand True" in text
    assert "weight 64×6 75% zero" in text
    small = run("info", "small.safetensors")[1]
    assert "neurons removed" in small
    assert "weight 6×8 → 3×8" in small


def test_a_file_of_format_1_has_its_zeros_counted():
    found = layers(FIXTURES / "weights-1.safetensors")
    assert sum(round(one.zeros * torch.Size(one.shape).numel()) for one in found if one.weight) > 0
    assert "weights zeroed" in run("info", str(FIXTURES / "weights-1.safetensors"))[1]


def test_names_of_a_file_cannot_steer_the_terminal():
    made = nn.Sequential()
    made.add_module("[red]\x1b[2J", nn.Linear(2, 2))
    sc.save(made, "odd.safetensors", settings={"[bold]\x07": "\x1b[31m"})
    console = Console(width=100, record=True, file=io.StringIO())
    show("odd.safetensors", console)
    text = console.export_text()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]\\x1b[2J" in text


def test_diff_counts_what_is_in_common():
    found = compare("a.safetensors", "b.safetensors")
    weight = found["tensors"]["2.weight"]
    assert (weight["sparsity"], weight["common"], weight["differ"]) == ([0.75, 0.5], 16 / 64, True)
    one_only = torch.cat([net()[2].weight[:32], net()[2].weight[48:]]).detach()
    assert weight["greatest"] == pytest.approx(float(one_only.abs().max()))
    assert list(found["tensors"]) == ["2.weight"]
    assert found["settings"] == {"sparsity": ["0.75", "0.5"]}
    assert found["facts"]["bytes"] == [Path(f"{n}.safetensors").stat().st_size for n in "ab"]
    code, text = run("diff", "a.safetensors", "b.safetensors")
    assert (code, "25%" in text, "setting sparsity: 0.75 in A, 0.5 in B" in text) == (1, True, True)


def test_diff_has_words_for_settings_that_are_empty_default_or_absent():
    for name, given in (("c", {"skip": [], "recovery": None, "mine": 1}), ("d", {"skip": ["2"], "recovery": "none"})):
        sc.save(net(), f"{name}.safetensors", settings=given)
    code, text = run("diff", "c.safetensors", "d.safetensors")
    assert code == 1
    assert [line for line in text.splitlines() if line.startswith("setting")] == [
        "setting mine: 1 in A, absent in B", "setting recovery: not given in A, none in B",
        "setting skip: empty in A, 2 in B"]


@pytest.mark.parametrize(("file", "engine"), [("net.onnx", "onnxruntime"), ("NET.ONNX", "onnxruntime"),
                                              ("net.xml", "openvino")])
@pytest.mark.parametrize("words", [["info"], ["diff", "a.safetensors"], ["export"]])
def test_a_file_of_a_runtime_is_refused_with_what_is_read_and_how_it_is_timed(words, file, engine):
    Path(file).write_bytes(b"x")
    done = CliRunner().invoke(app, [*words, file])
    assert isinstance(done.exception, sc.SecateurError)
    told = str(done.exception)
    assert f"'{file}': an " in told and "cannot be read here; allowed: " in told
    assert "a file of secateur prune or sc.save" in told
    assert f"secateur bench FILE.safetensors --engine {engine}" in told and "\n" not in told


def test_diff_of_neurons_says_which_units_went_in_both():
    x = torch.rand(2, 8)
    plan = sc.plan(net(), 0.5, granularity="neuron", criterion="random", example=x, seed=3)
    sc.save(sc.apply(net(), plan, example=x), "other.safetensors")
    gone = [set((~cut.keep).nonzero().flatten().tolist()) for cut in (
        plan.cuts[0], sc.plan(net(), 0.5, granularity="neuron", criterion="l1", example=x).cuts[0])]
    group = compare("small.safetensors", "other.safetensors")["groups"]["0"]
    assert group["common"] == pytest.approx(len(gone[0] & gone[1]) / len(gone[0] | gone[1]))
    assert group["differ"] == (gone[0] != gone[1])
    shapes = compare("a.safetensors", "small.safetensors")
    assert shapes["shapes"]["0.weight"] == ["float32[6, 8]", "float32[3, 8]"]
    assert shapes["groups"]["0"] == {"units": [None, 6], "sparsity": [None, 0.5], "common": None, "differ": True}


def test_the_same_network_is_the_same_however_it_is_stored():
    made = zeroed(range(48))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(p.bfloat16())
    sc.save(made, "wide.safetensors")
    sc.save(made, "narrow.safetensors", values="bf16")
    assert run("diff", "wide.safetensors", "narrow.safetensors")[0] == 0
    code, text = run("diff", "wide.safetensors", "narrow.safetensors", "--json")
    told = json.loads(text)
    assert (code, told["same"]) == (0, True)
    assert told["facts"]["bytes"][0] > told["facts"]["bytes"][1]
    with torch.no_grad():
        made[0].bias[0] += 1
    sc.save(made, "moved.safetensors")
    assert run("diff", "wide.safetensors", "moved.safetensors")[0] == 1
    assert compare("wide.safetensors", "moved.safetensors")["tensors"]["0.bias"]["greatest"] == pytest.approx(1)


@pytest.mark.parametrize("words", [("diff", "a.safetensors", "missing.safetensors"), ("info", "missing.safetensors"),
                                   ("info", "bad.safetensors"), ("diff", "bad.safetensors", "a.safetensors")])
def test_what_cannot_be_read_is_one_line(words):
    Path("bad.safetensors").write_bytes(Path("a.safetensors").read_bytes()[:-3])
    error = CliRunner().invoke(app, list(words)).exception
    assert isinstance(error, SecateurError)
    assert "\n" not in str(error)


def test_what_a_search_tried_is_a_table_in_info_and_short_in_diff():
    tried = [{"granularity": kind, "bits": bits, "loss": {"measure": "accuracy", "value": value}}
             for kind, bits, value in (("", 32, 0.0), ("neuron", 8, 0.25), ("1x4", 8, 1.5))] * 5
    sc.save(net(), "found.safetensors", settings={"search": {"goal": "size", "tried": tried}})
    lines = run("info", "found.safetensors")[1].splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("search, tried:"))
    # the measure is the same in all rows, and the dictionary itself is not printed
    assert [line.split() for line in lines[head + 1:head + 4]] == [
        ["granularity", "bits", "value"], ["32", "0"], ["neuron", "8", "0.25"]]
    assert "{" not in "".join(lines) and "search: goal size" in lines
    told = run("diff", "found.safetensors", "a.safetensors")[1].replace("\n", "")
    line = next(line for line in told.split("setting ") if line.startswith("search.tried"))
    assert len(line) < 400 and "characters) in A, absent in B" in line
