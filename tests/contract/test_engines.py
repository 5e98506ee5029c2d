"""Every engine of ``secateur bench`` gives torch's outputs, at batches that it was not prepared with, too."""

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.bench.network import outputs_of
from secateur.bench.run import BenchConfig
from secateur.core import registry
from secateur.engines.base import Engine
from secateur.measure.compare import difference

NAMES = list(registry.files("engines"))


class Two(nn.Module):
    """Two inputs, one of whole numbers, and two outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Embedding(5, 16), nn.Linear(16, 3)

    def forward(self, x, tokens):
        hidden = torch.relu(self.a(x) + self.b(tokens).mean(1))
        return {"out": self.out(hidden), "sum": x.sum(1)}


def small():
    """A convolutional network, half of its neurons gone: a cut graph where the class cannot be kept."""
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)).eval()
    return sc.prune(net, 0.5, granularity="neuron", criterion="l2", example=torch.rand(2, 1, 6, 6))


def sparse():
    net = Two().eval()
    return sc.apply(net, sc.plan(net, 0.7, skip=()))


CASES = {"neurons": (small, lambda n: (torch.rand(n, 1, 6, 6),)),
         "two inputs": (sparse, lambda n: (torch.rand(n, 6), torch.randint(0, 5, (n, 4))))}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_torch(name, case, tmp_path):
    engine = registry.get("engines", name)()
    if reasons := engine.refusals():
        pytest.skip(reasons[0])
    torch.manual_seed(0)
    network, inputs = CASES[case][0](), CASES[case][1]
    converted = engine.convert(network, inputs(3), tmp_path)
    with torch.inference_mode():
        call = engine.prepare(converted or network, inputs(2), 1)
        for batch in (1, 2, 5):
            x = inputs(batch)
            assert difference(outputs_of(call(x)), outputs_of(network(*x))) < 1e-4
    assert (converted is None) == (not engine.needs)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_says_what_it_is_and_what_is_missing(name, monkeypatch):
    engine = registry.get("engines", name)()
    assert isinstance(engine, Engine)
    assert engine.title
    assert engine.version() if not engine.refusals() else True
    assert bool(engine.needs) == bool(engine.extra)
    monkeypatch.setattr("secateur.engines.base.find_spec", lambda package: None)
    reasons = engine.refusals()
    assert len(reasons) == len(engine.needs)
    assert all(f"pip install 'secateur[{engine.extra}]'" in r for r in reasons)


def test_all_are_timed_unless_some_are_chosen():
    assert set(BenchConfig().chosen) == set(NAMES)
    assert BenchConfig(engines=("sparse", "dense")).chosen == ("dense", "sparse")
