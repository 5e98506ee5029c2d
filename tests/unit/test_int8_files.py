"""ONNX files in int8: their outputs beside the rule worked out in NumPy, and what a file says of itself."""

import numpy as np
import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core import processor, registry
from secateur.core.errors import UnsupportedError
from secateur.engines._files import write_once
from secateur.files.exporters import _int8, _int8_file, export_checked

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def file_of(network, x, folder):
    return write_once(network.eval(), folder / "model.onnx", (x,), "onnx")


def run(path, x):
    from secateur.files.exporters.onnx_ import session_of

    session = session_of(path)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def by_rule(layer, x, low, high, steps):
    """A linear layer in int8: inputs as whole numbers from 0 to 255 over [low, high], weights signed, a scale each
    output, sums exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    zero = np.clip(np.round(-low / scale), 0, 255)
    q = np.clip(np.round(x.numpy() / scale) + zero, 0, 255) - zero
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    scales = np.abs(weight).max(1) / np.float32(steps)
    return (q @ np.round(weight / scales[:, None]).T) * scale * scales + bias


@pytest.mark.parametrize(("narrow", "steps"), [(False, 127), (True, 64)])
def test_dynamic_ranges_are_those_of_the_call(narrow, steps, tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(24, 5)
    source = file_of(layer, torch.rand(3, 24), tmp_path)
    _int8.quantize_dynamic(source, tmp_path / "int8.onnx", narrow)
    assert _int8_file.signature(tmp_path / "int8.onnx") == ("dynamic", narrow)
    for x in (torch.randn(4, 24), 100 * torch.rand(1, 24)):
        expected = by_rule(layer, x, float(x.min()), float(x.max()), steps)
        assert np.allclose(run(tmp_path / "int8.onnx", x), expected, rtol=0, atol=2e-6 * np.abs(expected).max())
        exact = layer(x).detach().numpy()
        assert 0 < np.abs(expected - exact).max() < 0.05 * np.abs(exact).max()


def test_static_ranges_are_those_of_the_samples(tmp_path):
    torch.manual_seed(0)
    layer, samples = nn.Linear(24, 5), torch.randn(40, 24)
    source = file_of(layer, samples, tmp_path)
    _int8.quantize_static(source, tmp_path / "int8.onnx", (samples,), narrow=False)
    assert _int8_file.signature(tmp_path / "int8.onnx") == ("static", False)
    sums = by_rule(layer, samples, float(samples.min()), float(samples.max()), 127)
    # The outputs are rounded, too: to steps of a 255th of their range, so that they are off by half a step at most,
    # and by one where the two sums lie on both sides of a half.
    exact = layer(samples).detach().numpy()
    step = (exact.max() - exact.min()) / 255
    got = run(tmp_path / "int8.onnx", samples)
    assert np.abs(got - np.clip(sums, exact.min(), exact.max())).max() < 1.01 * step
    assert np.median(np.abs(got - sums)) < 0.3 * step
    # Ten times the samples are cut off at the ends of the ranges.
    far = run(tmp_path / "int8.onnx", 10 * samples)
    assert far.max() <= exact.max() + step and far.min() >= exact.min() - step


class Mixed(nn.Module):
    """A convolution, a recurrent layer and a linear one."""

    def __init__(self, kind):
        super().__init__()
        self.conv, self.recurrent, self.out = nn.Conv1d(4, 8, 3), kind(8, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.out(self.recurrent(torch.relu(self.conv(x)).transpose(1, 2))[0][:, -1])


@pytest.mark.parametrize(("kind", "dynamic", "static"), [
    (nn.LSTM, {"Conv": 1}, {"LSTM": 1}), (nn.GRU, {"Conv": 1, "GRU": 1}, {"GRU": 1})])
def test_what_is_not_in_int8_is_named(kind, dynamic, static, tmp_path):
    torch.manual_seed(0)
    network, x = Mixed(kind).eval(), torch.randn(32, 4, 12)
    engine = registry.get("engines", "onnxruntime-int8")()
    for way, held in (("dynamic", dynamic), ("static", static)):
        path = engine.convert(network, (x,), tmp_path, way)
        assert _int8_file.kept_in_float(path) == held
        call = engine.prepare(path, (x,), 1, way)
        found, exact = torch.from_numpy(call((x,))[0]), network(x).detach()
        assert (found - exact).norm() < 0.1 * exact.norm()
        told = engine.describe(call)
        assert told.endswith(" not in int8") and all(f"{n} {name}" in told for name, n in held.items())
    assert engine.ways(nn.Conv2d(3, 4, 3)) == ("static",)


def test_a_processor_without_vnni_gets_weights_of_seven_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(processor, "flags", lambda: frozenset({"avx2"}))
    assert processor.overflows_int8()
    layer, x = nn.Linear(24, 5), torch.rand(4, 24)
    source = file_of(layer, x, tmp_path)
    _int8.quantize_dynamic(source, tmp_path / "int8.onnx")
    assert _int8_file.signature(tmp_path / "int8.onnx") == ("dynamic", True)
    for flag in ("avx_vnni", "avx512_vnni"):
        monkeypatch.setattr(processor, "flags", lambda flag=flag: frozenset({"avx2", flag}))
        assert not processor.overflows_int8()
    monkeypatch.setattr(processor, "flags", frozenset)
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert not processor.overflows_int8()


def test_an_export_says_which_processors_its_file_is_for(tmp_path):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval(), torch.rand(32, 64)
    narrow = export_checked(net, tmp_path / "narrow.onnx", x, int8="narrow")
    assert "dynamic ranges" in narrow.suits and "overflow on no processor" in narrow.suits
    assert _int8_file.signature(tmp_path / "narrow.onnx") == ("dynamic", True)
    if not processor.overflows_int8():
        wide = export_checked(net, tmp_path / "wide.onnx", x, int8=True)
        assert "exact and fast on x86 with VNNI" in wide.suits
        assert wide.checked.distance < narrow.checked.distance
    assert export_checked(net, tmp_path / "plain.onnx", x).suits == ""
    with pytest.raises(sc.SecateurError, match="int8 'wide': allowed are True, False and 'narrow'"):
        export_checked(net, tmp_path / "x.onnx", x, int8="wide")


def test_convolutions_are_exported_with_ranges_of_real_samples(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 4)).eval()
    with pytest.raises(sc.SecateurError, match="has 2 samples; allowed are 16 or more"):
        sc.export(net, tmp_path / "net.onnx", torch.rand(2, 3, 8, 8), int8=True)
    assert not list(tmp_path.iterdir())
    done = export_checked(net, tmp_path / "net.onnx", torch.rand(32, 3, 8, 8), int8=True)
    assert _int8_file.kept_in_float(done.path) == {} and _int8_file.signature(done.path)[0] == "static"
    assert done.checked.distance < 0.05 and "static ranges" in done.suits


def test_a_network_without_such_layers_is_refused(tmp_path):
    source = file_of(nn.Softmax(-1), torch.rand(3, 4), tmp_path)
    for _ in range(2):  # Nothing is left that the second call could take for a file.
        with pytest.raises(UnsupportedError, match="no layer that ONNX Runtime quantises"):
            _int8.quantize_dynamic(source, tmp_path / "int8.onnx")
        assert not (tmp_path / "int8.onnx").exists()


def test_a_failed_quantisation_is_no_file_for_the_next_engine(tmp_path):
    network, x = nn.Linear(8, 4).double().eval(), torch.rand(20, 8).double()
    for _ in range(2):
        with pytest.raises(UnsupportedError, match="in float32"):
            registry.get("engines", "onnxruntime-int8")().convert(network, (x,), tmp_path, "static")


def test_autocast_is_no_way_for_what_it_does_not_round():
    from secateur.engines.torch_bf16 import TorchBf16

    assert TorchBf16().ways(nn.Linear(2, 2).double()) == ("converted",)
    assert TorchBf16().ways(nn.Conv2d(2, 2, 3)) == ("converted", "converted, channels_last", "autocast")


def test_bfloat16_rounds_to_eight_bits_by_hand():
    from secateur.engines.torch_bf16 import TorchBf16

    # 1 + 2^-8 lies halfway between 1 and 1 + 2^-7, and goes to the even one, 1; 1 + 3 * 2^-8 goes to 1 + 2^-6.
    layer = nn.Linear(1, 2, bias=False)
    layer.weight.data = torch.tensor([[1 + 2.0 ** -8], [1 + 3 * 2.0 ** -8]])
    # 3.01 = 2 * 1.505: the nearest of steps of 2^-6 is 3.015625 - 3.01 = 0.0056 away, 3.0 is 0.01 away.
    with torch.inference_mode():
        call = TorchBf16().prepare(layer, (torch.ones(1, 1),), 1, "converted")
        assert call((torch.ones(1, 1),)).tolist() == [[1.0, 1 + 2.0 ** -6]]
        found = call((torch.tensor([[3.01]]),))
        assert found[0, 0] == 3.015625 and found.dtype == torch.float32


class Pooled(nn.Module):
    """A mean over the places that a mask shows."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x, mask):
        shown = mask[..., None].float()
        return self.out((torch.relu(self.first(x)) * shown).sum(1) / shown.sum(1))


@pytest.mark.parametrize("name", ["onnxruntime-int8", "openvino-int8"])
def test_a_mean_over_a_mask_is_right_in_int8(name, tmp_path):
    torch.manual_seed(0)
    engine, network = registry.get("engines", name)(), Pooled().eval()
    if reasons := engine.refusals():
        pytest.skip(reasons[0])
    mask = torch.ones(40, 12, dtype=torch.long)
    mask[::2, 7:] = 0
    inputs = torch.randn(40, 12, 8), mask
    call = engine.prepare(engine.convert(network, inputs, tmp_path, "static"), inputs, 1, "static")
    found, exact = torch.from_numpy(np.array(call(inputs)[0])), network(*inputs).detach()
    assert (found - exact).norm() < 0.05 * exact.norm()
