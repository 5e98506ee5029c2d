"""Networks of int8 layers in files of other tools: integers run there, with our scales, zeros and biases."""

import copy
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from test_files_int8 import Recurrent, Residual
from torch import nn

import secateur as sc
from secateur.core.errors import MeasurementError
from secateur.files.exporters import export_checked, onnx_
from secateur.files.exporters._verify import difference_of_codes
from secateur.models.builtin.lenet5 import Lenet5
from secateur.quantization.layers.base import Int8Product

DRAW = torch.Generator().manual_seed(0)
IMAGES, SMALL = torch.rand(128, 1, 28, 28, generator=DRAW), torch.rand(128, 1, 8, 8, generator=DRAW)
TOKENS, WORDS = torch.randn(64, 6, 16, generator=DRAW), torch.randint(0, 20, (64, 5), generator=DRAW)


class Tokens(nn.Module):
    """Linear layers over an axis of words."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 24), nn.Linear(24, 4, bias=False)

    def forward(self, x):
        return self.last(self.first(x).relu())


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


def strided():
    return nn.Sequential(nn.Conv1d(16, 8, 3, padding="same", bias=False), nn.ReLU(),
                         nn.Conv1d(8, 8, 2, stride=2, groups=4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))


CASES = {"mlp": (mlp, SMALL), "lenet": (lambda: Lenet5((1, 28, 28), 10), IMAGES), "residual": (Residual, SMALL),
         "tokens": (Tokens, TOKENS), "strided": (strided, TOKENS.mT.contiguous()),
         "table": (lambda: nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 3)), WORDS)}
INTEGER = {"mlp": ["QGemm"] * 2, "lenet": ["QGemm"] * 2 + ["QLinearConv"] * 2, "residual": ["QGemm"],
           "tokens": ["MatMulIntegerToFloat"] * 2, "strided": ["QGemm"] + ["QLinearConv"] * 2, "table": ["QGemm"]}
"""What runs in integers; the convolutions of the residual network give float32 to an addition."""


def made(name, **settings):
    torch.manual_seed(0)
    make, x = CASES[name]
    return sc.quantize(make().eval(), x, **({"keep": ()} | settings)), x


def last_step(net):
    """The most that an output moves where a code of the last layer's input is another one."""
    last = [m for m in net.modules() if isinstance(m, Int8Product)][-1]
    return float(last.input_scale * (last.scale * last.codes.abs().amax(1)).max())


def optimised(path, folder):
    """The types of operators that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_computes_in_integers_what_the_module_gives(name, tmp_path):
    net, x = made(name)
    done = export_checked(net, tmp_path / "net.onnx", x[:8])
    session = onnxruntime.InferenceSession(str(done.path))
    got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    off = np.abs(got - net(x).detach().numpy())
    assert (off <= last_step(net)).mean() >= 0.999
    found = optimised(done.path, tmp_path)
    assert [kind for kind in found if kind in {"QGemm", "QLinearConv", "MatMulIntegerToFloat"}] == INTEGER[name]
    assert "Gemm" not in found and "MatMul" not in found


@pytest.mark.parametrize("name", ["mlp", "lenet", "residual", "tokens"])
def test_openvino_gives_what_the_module_gives(name, tmp_path):
    """From its own format, and from the ONNX file."""
    import openvino

    net, x = made(name)
    export_checked(net, tmp_path / "net.xml", x[:8], "openvino")
    export_checked(net, tmp_path / "net.onnx", x[:8])
    for path in (tmp_path / "net.xml", tmp_path / "net.onnx"):
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = difference_of_codes(torch.from_numpy(compiled([x.numpy()])[0].copy()), net(x).detach(), net(x).detach())
        assert found.error <= found.allowed and found.distance < 0.005


def test_the_file_holds_the_codes_scales_zeros_and_biases_of_the_module(tmp_path):
    torch.manual_seed(0)
    cut = sc.prune(mlp().eval(), 0.5, recovery="none", skip=())
    net = sc.quantize(cut, SMALL, keep=())
    graph = onnx.load(export_checked(net, tmp_path / "net.onnx", SMALL[:8]).path).graph
    held = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    gemms = [node for node in graph.node if node.op_type == "Gemm"]
    for gemm, layer, whole in zip(gemms, (net[1], net[3]), (cut[1], cut[3]), strict=True):
        given, weight, bias = ([held[n] for n in makers[one].input[-2 if i == 0 else 0:]]
                               for i, one in enumerate(gemm.input))
        assert [v.tolist() for v in given] == [layer.input_scale.item(), layer.input_zero.item()]
        assert np.array_equal(weight[0], layer.codes.numpy()) and np.array_equal(weight[1], layer.scale.numpy())
        assert not weight[2].any() and (weight[0][whole.weight.detach().numpy() == 0] == 0).all()
        assert bias[0].dtype == np.int32 and np.array_equal(bias[0], layer.bias.numpy())
        assert np.array_equal(bias[1], (layer.input_scale * layer.scale).numpy())


@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize(("make", "x", "settings", "message"), [
    (mlp, SMALL, {"activations": "dynamic"}, "layer '1' takes a range for each call .* quantise with static ranges"),
    (lambda: Recurrent("LSTM"), WORDS, {}, r"layer 'cells' is a recurrent one .* keep=\['cells'\], or export to pt2")])
def test_what_has_no_such_form_is_refused(name, make, x, settings, message, tmp_path):
    net = sc.quantize(make().eval(), x, keep=(), **settings)
    with pytest.raises(sc.SecateurError, match=message) as caught:
        sc.export(net, tmp_path / {"onnx": "net.onnx", "openvino": "net.xml"}[name], x[:4], to=name)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_graph_out_of_a_file_is_exported_too(tmp_path):
    net, x = made("lenet")
    back = sc.load(sc.save(net, tmp_path / "net.safetensors", example=x[:4]))
    done = export_checked(back, tmp_path / "net.onnx", x[:4])
    assert optimised(done.path, tmp_path).count("QLinearConv") == 2
    sc.export(nn.Sequential(back), tmp_path / "inside.xml", x[:4], to="openvino")
    dynamic = sc.load(sc.save(made("mlp", activations="dynamic")[0], tmp_path / "dyn.safetensors", example=SMALL[:4]))
    with pytest.raises(sc.SecateurError, match="takes a range for each call"):
        sc.export(dynamic, tmp_path / "dyn.onnx", SMALL[:4])


def test_the_result_says_which_processors_the_file_suits(tmp_path):
    net, x = made("lenet")
    done = export_checked(net, tmp_path / "net.onnx", x[:8])
    assert done.suits.startswith("int8, scales, zero points and biases of the network itself: exact on x86 with VNNI")
    assert "session.x64quantprecision" in done.suits and done.checked.against == "the int8 network"
    assert export_checked(mlp().eval(), tmp_path / "plain.onnx", SMALL[:8]).checked.against == "float64"


def test_sums_do_not_overflow_in_the_check_of_a_processor_without_vnni(tmp_path, monkeypatch):
    asked, whole = [], onnx_.session_of
    monkeypatch.setattr(onnx_, "overflows_int8", lambda: True)
    monkeypatch.setattr(onnx_, "session_of", lambda path, exact=False: (asked.append(exact), whole(path, exact))[1])
    net, x = made("mlp")
    export_checked(net, tmp_path / "net.onnx", x[:8])
    sc.export(mlp().eval(), tmp_path / "plain.onnx", x[:8])
    assert asked == [True, False]


def test_int8_of_a_network_of_int8_layers_is_refused(tmp_path):
    net, x = made("mlp")
    with pytest.raises(sc.SecateurError, match="whose layers are in eight bits; leave out int8"):
        sc.export(net, tmp_path / "net.onnx", x[:4], int8=True)


@pytest.mark.parametrize("change", ["bias", "scale", "codes"])
def test_a_file_that_gives_something_else_is_refused(change, tmp_path, monkeypatch):
    net, x = made("mlp")
    write = onnx_.Onnx.write

    def wrong(self, subject, path, int8=False):
        other = copy.deepcopy(subject.model)
        tensor = getattr(other[3], change)
        tensor[0] = tensor[0] * 2 if change == "scale" else tensor[0] + 30 if change == "codes" else tensor[0] + 10**5
        write(self, type(subject)(other, subject.args, subject.kwargs, subject.original, subject.reach), path, int8)

    monkeypatch.setattr(onnx_.Onnx, "write", wrong)
    with pytest.raises(MeasurementError, match="was not written"):
        export_checked(net, tmp_path / "net.onnx", x[:16])


def test_a_thousandth_of_the_values_may_be_off():
    own = torch.linspace(-1, 1, 2000)
    code = 2 / 255
    for wrong, fits in ((2, True), (3, False)):
        got = own + 0.4 * code
        got[:wrong] += code
        found = difference_of_codes(got, own, own)
        assert (found.error <= found.allowed) == fits
    found = difference_of_codes(own * 1.02, own, own)
    assert (found.error, found.allowed) == (pytest.approx(0.02, rel=1e-3), 0.01)
    found = difference_of_codes(own * 1.02, own, own * 1.003)
    assert (found.error, found.allowed) == (pytest.approx(0.02, rel=0.01), pytest.approx(0.03, rel=0.01))
    found = difference_of_codes(*(torch.tensor([1, 2, last]) for last in (3, 4, 4)))
    assert found.error > found.allowed


@pytest.mark.slow
def test_pt2_gives_the_same_bits_where_secateur_cannot_be_imported(tmp_path):
    nets = {name: made(name) for name in ("mlp", "residual", "tokens", "strided")}
    nets["dynamic"] = made("mlp", activations="dynamic")
    torch.manual_seed(0)
    nets["LSTM"] = sc.quantize(Recurrent("LSTM").eval(), WORDS, keep=()), WORDS
    for name, (net, x) in nets.items():
        sc.export(net, tmp_path / f"{name}.pt2", x[:8], to="pt2")
        torch.save((x, net(x).detach()), tmp_path / f"{name}.outputs")
    code = """
import json, sys
sys.modules["secateur"] = None
import torch
told = {}
for name in sys.argv[1:]:
    x, wanted = torch.load(f"{name}.outputs")
    told[name] = torch.equal(torch.export.load(f"{name}.pt2").module()(x), wanted)
print(json.dumps(told))
"""
    done = subprocess.run([sys.executable, "-c", code, *nets], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == dict.fromkeys(nets, True)
