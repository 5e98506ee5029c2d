"""``secateur info`` on networks of the user's own: factories, examples of any inputs, mistakes in one line each."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from secateur.cli import app
from secateur.core.errors import SecateurError


class Two(nn.Module):
    """Two inputs, and outputs that are no logits."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 8), nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x, y):
        return {"shown": self.out(torch.relu(self.a(x) + self.b(y)))}


def broken():
    raise RuntimeError("no data today")


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = types.ModuleType("own_info")
    made.Two, made.broken = Two, broken
    made.plain = lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    made.classy = lambda classes: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, classes))
    made.shaped = lambda shape, num_classes, width=16: nn.Sequential(
        nn.Flatten(), nn.Linear(shape[0] * shape[1], width), nn.ReLU(), nn.Linear(width, num_classes))
    made.needy = lambda width: nn.Linear(width, width)
    made.pair = lambda: (torch.randn(2, 4), torch.randn(2, 5))
    made.named = {"y": torch.randn(2, 5), "x": torch.randn(2, 4)}
    monkeypatch.setitem(sys.modules, "own_info", made)


def said(*words):
    result = CliRunner().invoke(app, ["info", *words])
    if isinstance(result.exception, SecateurError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("example", ["own_info:pair", "own_info:named"])
def test_a_network_of_two_inputs_is_shown_with_its_example(example):
    told = said("own_info:Two", "--example", example, "--sparsity", "0.5")
    assert "a: 8 x neuron" in told
    assert "parameters: 106 -> 54" in told
    assert "FLOPs: 352 -> 176" in told


@pytest.mark.parametrize(("factory", "flags", "outputs"), [
    ("plain", ["--shape", "3,4"], 4), ("classy", ["--shape", "12"], 10),
    ("classy", ["--shape", "12", "--classes", "3"], 3),
    ("shaped", ["--shape", "2,6", "--classes", "7"], 7)])
def test_factories_get_what_they_ask_for(factory, flags, outputs):
    assert f": {outputs} x neuron" in said(f"own_info:{factory}", *flags).splitlines()[-1]


@pytest.mark.parametrize(("words", "message"), [
    (["resnet21"], "unknown model 'resnet21': did you mean 'resnet20'"),
    (["own_info:plan"], "did you mean 'plain'"),
    (["own_info:needy"], r"'own_info:needy' needs width: .* those of shape, classes, num_classes .*--shape, --classes"),
    (["own_info:broken"], "model 'own_info:broken' failed: RuntimeError: no data today"),
    (["own_info:plain", "--shape", "3,8"], r"got float32 \[2, 3, 8\]; set another shape with --shape"),
    (["own_info:Two"], "the example does not run on Two: .* inputs of your own with --example pkg.module:name"),
    (["own_info:Two", "--example", "own_info:broken"], "example 'own_info:broken' failed: RuntimeError: no data today"),
    (["own_info:Two", "--example", "own_info:pear"], "did you mean 'pair'"),
    (["own_info:plain", "--shape", "3,x"], "shape 'x': allowed is a whole number"),
    (["own_info:plain", "--shape", "12", "--sparsity", "1.0"], r"allowed is a fraction removed in \[0, 1\)")])
def test_mistakes_are_one_line(words, message):
    with pytest.raises(SecateurError, match=message) as caught:
        said(*words)
    assert "\n" not in str(caught.value)


def test_a_sparsity_that_would_empty_a_layer_leaves_one_unit_and_says_so():
    assert "one of 16 neurons kept" in said("own_info:plain", "--shape", "12", "--sparsity", "0.99")
