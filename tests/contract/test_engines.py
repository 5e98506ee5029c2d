"""Every engine of ``secateur bench`` gives torch's outputs in each of its ways, at other batches than its example's."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.bench.network import outputs_of
from secateur.bench.run import BenchConfig
from secateur.core import registry
from secateur.core.pytree import repeat
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
    network, samples = CASES[case][0](), CASES[case][1](64)
    # bfloat16 rounds to 1 in 256, int8 to 1 in 255 of the range of the samples, which holds those that are run.
    allowed = {"float32": 1e-4, "bfloat16": 0.02, "int8": 0.05}[engine.precision()]
    for way in engine.ways(network):
        converted = engine.convert(network, samples, tmp_path, way)
        with torch.inference_mode():
            call = engine.prepare(converted or copy.deepcopy(network), repeat(samples, 2), 1, way)
            for batch in (1, 2, 5):
                x = repeat(samples, batch)
                assert difference(outputs_of(call(x)), outputs_of(network(*x))) < allowed, way
        assert (converted is None) == (not engine.needs)


def test_a_network_of_convolutions_runs_in_torch_with_channels_last_too():
    from secateur.engines.torch import Torch

    network, x = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8)
    assert Torch().ways(network) == ("plain", "channels_last")
    assert Torch().ways(nn.Linear(2, 2)) == ("",)
    expected = network(x)
    outputs = Torch().prepare(network, (x,), 1, "channels_last")((x,))
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(outputs, expected, atol=1e-6)


def test_openvino_in_less_than_float32_is_an_engine_where_that_is_its_default(monkeypatch):
    pytest.importorskip("openvino")
    from secateur.engines.openvino_default import OpenVinoDefault
    from secateur.files.exporters import openvino_

    class Core:
        def get_property(self, device, name):
            assert (device, name) == ("CPU", "INFERENCE_PRECISION_HINT")
            return self.default

    found = type("OpenVINO", (), {"Core": Core})
    types = openvino_.import_openvino().Type
    monkeypatch.setattr(openvino_, "import_openvino", lambda: found)
    Core.default = types.f32
    assert OpenVinoDefault().refusals() == [
        "OpenVINO's default on this machine is float32, which the engine openvino measures"]
    Core.default = types.bf16
    assert (OpenVinoDefault().refusals(), OpenVinoDefault().precision()) == ([], "bfloat16")


def test_openvino_computes_in_the_precision_that_its_engine_names(tmp_path):
    for name in ("openvino", "openvino-default"):
        engine = registry.get("engines", name)()
        if reasons := engine.refusals():
            pytest.skip(reasons[0])
        torch.manual_seed(0)
        network, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval(), torch.rand(16, 64)
        with torch.no_grad():
            call = engine.prepare(engine.convert(network, (x,), tmp_path, "IR"), (x,), 1, "IR")
            gap = difference(outputs_of(call((x,))), [network(x)])
        assert (gap < 1e-5) == (engine.precision() == "float32"), (name, gap)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_says_what_it_is_and_what_is_missing(name, monkeypatch):
    engine = registry.get("engines", name)()
    assert isinstance(engine, Engine)
    assert engine.title
    assert engine.version() if not engine.refusals() else True
    assert bool(engine.needs) == bool(engine.extra)
    monkeypatch.setattr("secateur.engines.base.find_spec", lambda package: None)
    reasons = engine.refusals()
    reasons = [r for r in reasons if "processor" not in r]
    assert len(reasons) == len(engine.needs)
    assert all(f"pip install 'secateur[{engine.extra}]'" in r for r in reasons)


def test_all_are_timed_unless_some_are_chosen():
    assert set(BenchConfig().ordered_engines) == set(NAMES)
    assert BenchConfig(engines=("sparse", "torch")).ordered_engines == ("torch", "sparse")


@pytest.mark.parametrize("case", CASES)
def test_the_ways_of_an_engine_give_the_same_within_their_precision(case, tmp_path):
    torch.manual_seed(0)
    network, samples = CASES[case][0](), CASES[case][1](64)
    for name in NAMES:
        engine = registry.get("engines", name)()
        if engine.refusals() or len(engine.ways(network)) == 1:
            continue
        found = []
        for way in engine.ways(network):
            file = engine.convert(network, samples, tmp_path, way)
            with torch.inference_mode():
                found.append(outputs_of(engine.prepare(file or copy.deepcopy(network), samples, 1, way)(samples)))
        bound = {"float32": 1e-4, "bfloat16": 0.02, "int8": 0.08}[engine.precision()]
        assert all(difference(one, found[0]) < bound for one in found[1:]), name


def test_without_instructions_for_bfloat16_torch_does_not_run_in_it(monkeypatch):
    from secateur.core import processor
    from secateur.engines.torch_bf16 import TorchBf16

    monkeypatch.setattr(processor, "flags", lambda: frozenset({"avx512f", "avx512_vnni"}))
    assert "no instructions for bfloat16" in TorchBf16().refusals()[0]
    monkeypatch.setattr(processor, "flags", lambda: frozenset({"amx_bf16"}))
    assert TorchBf16().refusals() == []
