"""Networks of int8 and bfloat16 layers in files: every bit and every output comes back, what does not fit is named."""

import json

import forged
import pytest
import torch
from support import tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.core.tensors import same_bits
from secateur.measure.size import size
from secateur.quantization.layers.base import Inputs
from secateur.quantization.layers.linear import Int8Linear

X = torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(0, 20, (64, 5), generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """Convolutions without biases, whose norms are folded."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner, self.inner_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 5)
        for norm in (self.norm, self.inner_norm):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.last((x + self.inner_norm(self.inner(x))).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """A table and a recurrent layer of two layers and directions."""

    def __init__(self, kind):
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.cells = getattr(nn, kind)(8, 6, 2, bidirectional=True, batch_first=True)
        self.last = nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.cells(self.table(x))[0][:, -1])


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))


def strided():
    return nn.Sequential(nn.Conv1d(2, 6, 4, padding="same", bias=False), nn.ReLU(),
                         nn.Conv1d(6, 6, 3, stride=2, dilation=2, groups=3, padding_mode="circular", padding=1),
                         nn.Flatten(), nn.Linear(90, 4))


CASES = {
    "mlp": (mlp, X, {}), "dynamic": (mlp, X, {"activations": "dynamic"}), "bf16": (mlp, X, {"bits": 16}),
    "convolutions": (strided, torch.randn(64, 2, 32, generator=torch.Generator().manual_seed(0)), {}),
    "one layer": (lambda: nn.Linear(8, 3), X[:, 0, 0], {}), "folded norms": (Residual, X, {}),
    "a folded layer in float32": (Residual, X, {"keep": ["inner"]}), "LSTM": (lambda: Recurrent("LSTM"), WORDS, {}),
    "GRU": (lambda: Recurrent("GRU"), WORDS, {"keep": ["table"]}), "RNN": (lambda: Recurrent("RNN"), WORDS, {}),
    "bf16 LSTM": (lambda: Recurrent("LSTM"), WORDS, {"bits": 16})}


def made(name):
    make, x, settings = CASES[name]
    torch.manual_seed(0)
    given = {} if "bits" in settings else {"keep": ()}
    return make, x, sc.quantize(make().eval(), x, **{**given, **settings})


def same(one, other):
    pairs = list(zip(one.state_dict().items(), other.state_dict().items(), strict=True))
    return all(a == b and same_bits(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("name", CASES)
def test_a_factory_of_float32_layers_gets_the_layers_back(name, tmp_path):
    make, x, net = made(name)
    path = sc.save(net, tmp_path / "net.safetensors")
    torch.manual_seed(1)
    back = sc.load(path, make).eval()
    assert same(back, net) and [type(m) for m in back.modules()] == [type(m) for m in net.modules()]
    assert torch.equal(back(x), net(x))
    assert files.file_bytes(net) == path.stat().st_size
    assert sc.save(back, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_the_graph_runs_without_a_factory(name, tmp_path):
    make, x, net = made(name)
    path = sc.save(net, tmp_path / "net.safetensors", example=x[:4])
    back = sc.load(path)
    assert torch.equal(back(x[:9]), net(x[:9]))
    assert sc.save(back, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert torch.equal(sc.load(path, make).eval()(x), net(x))


@pytest.mark.parametrize("granularity", ["weight", "1x4", "neuron"])
def test_cut_and_in_eight_bits(granularity, tmp_path):
    net = sc.prune(mlp().eval(), 0.5, granularity=granularity, data=X, bits=8)
    back = sc.load(sc.save(net, tmp_path / "net.safetensors"), mlp)
    assert same(back, net) and torch.equal(back(X), net(X))


def test_bytes_in_the_file_by_hand(tmp_path):
    """Codes one byte each, scales and biases four, one scale and one zero point of the inputs."""
    net = sc.quantize(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), X[:, 0, 0], keep=())
    facts = files.tell(sc.save(net, tmp_path / "net.safetensors"))
    assert {one.name: one.bytes for one in facts.tensors if one.name.startswith("0.")} == {
        "0.codes": 48, "0.scale": 24, "0.bias": 24, "0.input_scale": 4, "0.input_zero": 1}
    assert (facts.bits, facts.layers) == ("8", {"0": "Int8Linear", "2": "Int8Linear"})
    assert facts.dense_bytes == 48 + 24 + 24 + 5 + 12 + 8 + 8 + 5
    assert sum(one.dense_bytes for one in facts.tensors) == 4 * (48 + 6 + 12 + 2)


def test_what_a_neuron_cut_had_before_is_known_by_the_new_names(tmp_path):
    for bits in (8, 16):
        net = sc.prune(mlp().eval(), 0.5, granularity="neuron", data=X, bits=bits, recovery="none")
        found = {one.name: one for one in files.tell(sc.save(net, tmp_path / "net.safetensors")).tensors}
        name = {8: "1.codes", 16: "1.layer.weight"}[bits]
        assert (found[name].before, found[name].shape, found[name].bits) == ((30, 64), (15, 64), bits)
        assert (found[name].dense_bytes, found[name].sparsity) == (30 * 64 * 4, 1 - found[name].nonzeros / (30 * 64))


def test_a_layer_in_eight_bits_has_as_many_parameters_as_before():
    """64 times 30 and 30, 30 times 10 and 10; a scale or a range is none."""
    net = sc.quantize(mlp(), X, keep=())
    found = size(net)
    zeros = sum(int((layer.codes == 0).sum() + (layer.bias == 0).sum()) for layer in (net[1], net[3]))
    assert found["parameters"] == size(mlp())["parameters"] == 64 * 30 + 30 + 30 * 10 + 10
    assert found["nonzeros"] == found["parameters"] - zeros
    torch.manual_seed(0)
    whole = Recurrent("LSTM")
    assert size(sc.quantize(whole, WORDS, keep=()))["parameters"] == size(whole)["parameters"]


def refused(path, make):
    with pytest.raises(sc.SecateurError) as caught:
        sc.load(path, make)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def other(**layers):
    """The factory with some layers of another kind."""
    def make():
        net = mlp()
        for name, layer in layers.items():
            net[int(name[1:])] = layer
        return net

    return make


@pytest.mark.parametrize(("make", "message"), [
    (other(_1=nn.Bilinear(4, 4, 30)), "'1' is of kind Int8Linear, which cannot take the place of the Bilinear"),
    (other(_1=nn.Embedding(30, 64)), "Int8Linear, which cannot take the place of the Embedding that make_model makes"),
    (other(_1=nn.Linear(64, 31), _3=nn.Linear(31, 10)), "1.codes is [30, 64] in the file but [31, 64] in that network"),
    (other(_1=nn.Linear(64, 30, bias=False)), None), (lambda: nn.Linear(4, 4), "makes has no such layer"),
    (other(_3=nn.RNN(30, 10, nonlinearity="relu")), "cannot take the place of the RNN"),
    (tiny, "5.weight is [4, 8] in that network but missing")])
def test_a_factory_of_another_network(make, message, tmp_path):
    net = sc.quantize(mlp(), X, keep=())
    path = sc.save(net, tmp_path / "net.safetensors")
    if message is None:  # as a folded norm leaves it: the bias is in the file
        assert torch.equal(sc.load(path, make)(X), net(X))
    else:
        assert message in refused(path, make)


@pytest.mark.parametrize(("layers", "message"), [
    ([], "is a list, allowed is an object"), ({"1": "Int8Linear"}, "3.codes is [10, 30] in the file but missing"),
    ({"1": "os.system"}, "'1' is a 'os.system'; allowed: Int8Conv, Int8Embedding, Int8Linear, Int8Recurrent, Bf16"),
    ({"1": {}}, "is an object, allowed is a text"), ({"1": "Int8Conv"}, "cannot take the place of the Linear"),
    ({"1": "Identity"}, "cannot take the place of the Linear"), ({"__class__": "Biased"}, "has no such layer"),
    ({"1": "Bf16Layer", "3": "Int8Linear"}, "1.layer.weight is [30, 64] in that network but missing"),
    ({"": "Int8Linear"}, "cannot take the place of the Sequential"), ({"1.weight": "Biased"}, "has no such layer")])
def test_layers_that_no_writer_names(layers, message, tmp_path):
    path = sc.save(sc.quantize(mlp(), X, keep=()), tmp_path / "net.safetensors")
    path.write_bytes(forged.changed(path.read_bytes(), lambda meta, *_: meta.update(layers=json.dumps(layers))))
    assert message in refused(path, mlp)


def test_tensors_of_an_int8_layer_have_their_types(tmp_path):
    path = sc.save(sc.quantize(mlp(), X, keep=()), tmp_path / "net.safetensors")

    def spoil(meta, told, _):
        forged.told_tensors(meta, lambda read: read["1.bias"].update(dtype="float32", values="F32"))
        told["1.bias"]["dtype"] = "F32"

    path.write_bytes(forged.changed(path.read_bytes(), spoil))
    assert "has a tensor 'bias' of float32; expected int32" in refused(path, mlp)


@pytest.mark.parametrize(("changes", "message"), [
    ({0: {"at": 1}}, "float32[30] by int8[30, 64]"), ({1: {"at": 5}}, "float32[4, 64] by float32[4, 64]"),
    ({2: {"at": 2}}, "scale int32[30] of int8[30, 64]"), ({3: {"at": 0}}, "bias int8[30, 64]"),
    ({4: None}, "scale None and zero uint8[] of inputs"), ({5: 3}, "scale float32[] and zero 3 of inputs"),
    ({5: {"at": 3}}, "scale float32[] and zero float32[] of inputs")])
def test_a_product_gets_what_an_int8_layer_has(changes, message, tmp_path):
    """The graph's values are codes, scale, bias, scale and zero point of the inputs, and the input."""
    path = sc.save(sc.quantize(nn.Sequential(nn.Linear(64, 30)), X.flatten(1), keep=()), tmp_path / "net.safetensors",
                   example=X[:4].flatten(1))

    def spoil(read):
        call = read["calls"][-1]
        assert call[0] == "secateur.int8_linear.default"
        for place, value in changes.items():
            call[1][place] = value

    path.write_bytes(forged.with_program(path.read_bytes(), spoil))
    with pytest.raises(sc.SecateurError) as caught:
        sc.load(path)(X[:4].flatten(1))
    assert "call 0, secateur.int8_linear.default: " in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_operators_of_that_name_space_are_not_allowed(tmp_path):
    path = sc.save(sc.quantize(nn.Sequential(nn.Linear(64, 30)), X.flatten(1), keep=()), tmp_path / "net.safetensors",
                   example=X[:4].flatten(1))
    whole = path.read_bytes()
    for name in ("secateur.int8_lstm.default", "secateur.int8_linear.out", "secateur.__class__.default"):
        path.write_bytes(forged.with_program(whole, lambda read, name=name: read["calls"][-1].__setitem__(0, name)))
        with pytest.raises(sc.SecateurError, match="is not allowed in a file"):
            sc.load(path)


def test_memory_of_a_product_is_counted_before_it_is_computed(tmp_path):
    """2 ** 18 rows of one value by a weight of 2 ** 12 outputs: 4 GiB of results from 1 MiB."""
    net = nn.Sequential(Int8Linear.of(nn.Linear(1, 4096, bias=False), Inputs()))
    path = sc.save(net, tmp_path / "net.safetensors", example=torch.rand(2, 1))
    with pytest.raises(sc.SecateurError, match=r"int8_linear.default: the graph needs \d+ bytes at once"):
        sc.load(path)(torch.zeros(2**18, 1))
