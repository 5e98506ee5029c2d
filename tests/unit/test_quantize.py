"""The verb: which layers get eight bits, what stays, what is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.errors import LeftOutWarning
from secateur.quantization.bf16 import Bf16Layer
from secateur.quantization.layers.base import Int8Layer
from secateur.quantization.layers.linear import Int8Linear

X = torch.rand(256, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def with_nan():
    net = mlp()
    net[0].weight.data[3, 3] = float("nan")
    return net


def int8_names(net):
    return [name for name, module in net.named_modules() if isinstance(module, Int8Layer)]


def test_the_model_stays_as_it_is():
    net = mlp()
    before = copy.deepcopy(net.state_dict())
    sc.quantize(net, X)
    assert int8_names(net) == [] and all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


def test_the_same_samples_and_seed_give_the_same_bits():
    one, other = sc.quantize(mlp(), X), sc.quantize(mlp(), X)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


@pytest.mark.parametrize("granularity", ["weight", "1x4", "2:4"])
def test_zeros_of_a_cut_stay_zero(granularity):
    cut = sc.prune(mlp(), 0.5, granularity=granularity, recovery="none", skip=())
    made = sc.quantize(cut, X, keep=())
    for name in ("0", "2"):
        assert (made.get_submodule(name).codes[cut.get_submodule(name).weight == 0] == 0).all()


def test_prune_in_eight_bits_is_prune_and_then_quantize():
    small = sc.prune(mlp(), 0.5, granularity="neuron", data=X, bits=8)
    again = sc.quantize(sc.prune(mlp(), 0.5, granularity="neuron", data=X), X)
    assert int8_names(small) == ["0", "2"] and torch.equal(small(X), again(X))


def test_sixteen_bits_are_those_of_torch():
    net = mlp()
    made = sc.quantize(net, bits=16)
    first = F.linear(X.bfloat16(), net[0].weight.bfloat16(), net[0].bias.bfloat16()).float().relu()
    assert isinstance(made[0], Bf16Layer)
    assert torch.equal(made(X), F.linear(first.bfloat16(), net[2].weight.bfloat16(), net[2].bias.bfloat16()).float())


class Branched(nn.Module):
    """A norm that reads what something else reads too, and one that does not."""

    def __init__(self):
        super().__init__()
        self.a, self.na = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.b, self.nb = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        for norm in (self.na, self.nb):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        y = self.a(x)
        z = self.na(y).relu() + y
        return self.nb(self.b(z)).mean((2, 3))


def test_a_batch_norm_is_folded_only_where_nothing_else_reads_what_it_reads():
    torch.manual_seed(0)
    net, x = Branched().eval(), torch.rand(64, 1, 6, 6)
    made = sc.quantize(net, x)
    assert isinstance(made.na, nn.BatchNorm2d) and isinstance(made.nb, nn.Identity)
    assert (made(x) - net(x)).abs().max() < 0.02 * net(x).abs().max()


class Shared(nn.Module):
    """One layer under two names, called twice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = self.a

    def forward(self, x):
        return self.b(self.a(x).relu())


def test_a_layer_under_two_names_is_one_layer():
    torch.manual_seed(0)
    net = Shared()
    made = sc.quantize(net, X)
    assert made.a is made.b and isinstance(made.a, Int8Linear)
    assert (made(X) - net(X)).abs().max() < 0.03 * net(X).abs().max()


class Odd(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, x):
        return F.linear(x, self.weight * 2, self.bias)


class Unusual(nn.Module):
    """Layers that have no form in eight bits, beside one that has."""

    def __init__(self):
        super().__init__()
        self.odd, self.attention, self.plain = Odd(8, 8), nn.MultiheadAttention(8, 2), nn.Linear(8, 8)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.idle = nn.Linear(8, 8)

    def forward(self, x):
        return self.normed(self.plain(self.attention(*[self.odd(x)] * 3)[0]))


def test_what_stays_in_float32_is_named_with_its_reason():
    with pytest.warns(LeftOutWarning) as caught:
        made = sc.quantize(Unusual(), X)
    told = "\n".join(str(one.message) for one in caught)
    assert int8_names(made) == ["plain"]
    for name, why in {"odd": "in its own way", "attention.out_proj": "'attention' reads its weight",
                      "attention": "has no form in eight bits", "normed": "a parametrization", "idle": "never called"
                      }.items():
        assert any(f"'{name}'" in line and why in line for line in told.splitlines()), (name, told)


def test_an_encoder_layer_of_torch_calls_its_parts():
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True).eval()
    x = torch.rand(64, 5, 8)
    with pytest.warns(LeftOutWarning):
        made = sc.quantize(net, x)
    seen = []
    made.linear1.register_forward_hook(lambda *_: seen.append(1))
    made.linear1._forward_hooks.clear()
    with torch.inference_mode():
        off = float((made(x) - net(x)).abs().max())
    # not to the last bits, which torch's fast path from dequantised weights would nearly give, and near
    assert 1e-4 < off < 0.05


class Steep(nn.Module):
    """Scores in which the second layer's rounding is ruinous: one input of a thousand times the others' size."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(9, 4)

    def forward(self, x):
        return self.second(torch.cat([self.first(x), 1e4 * x[:, :1]], 1))


def test_auto_takes_back_the_layer_that_loses_most():
    torch.manual_seed(0)
    net = Steep()
    with torch.no_grad():
        net.second.weight[:, -1] = 1e-4
    with pytest.warns(LeftOutWarning, match="'second' .*loses too much"):
        made = sc.quantize(net, X, ranges="minmax")
    assert int8_names(made) == ["first"]
    assert int8_names(sc.quantize(net, X, ranges="minmax", keep=())) == ["first", "second"]


def test_keep_names_what_stays():
    with pytest.warns(LeftOutWarning, match="keep names it"):
        assert int8_names(sc.quantize(mlp(), X, keep=["2"])) == ["0"]


def test_a_dynamic_network_takes_no_samples_and_any_range():
    net = mlp()
    made = sc.quantize(net, activations="dynamic")
    for size in (1.0, 1000.0):
        assert (made(X * size) - net(X * size)).abs().max() < 0.03 * net(X * size).abs().max()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: sc.quantize(mlp()), "static ranges of activations need calibration inputs: pass data="),
    (lambda: sc.prune(mlp(), 0.5, bits=8), "static ranges of activations need calibration inputs"),
    (lambda: sc.quantize(mlp(), X, bits=4), "bits 4: allowed are 32"),
    (lambda: sc.quantize(mlp(), X, bits=32), "bits 32: allowed are 8"),
    (lambda: sc.prune(mlp(), 0.5, data=X, bits="8"), "bits '8': allowed are"),
    (lambda: sc.quantize(sc.quantize(mlp(), X), X), "layer '0' is quantised already"),
    (lambda: sc.prune(sc.quantize(mlp(), X), 0.5), "quantised"),
    (lambda: sc.quantize(mlp(), X, activations="statick"), "did you mean 'static'"),
    (lambda: sc.quantize(mlp(), X, ranges="max"), "did you mean 'minmax'"),
    (lambda: sc.quantize(mlp(), X, keep="2"), r"did you mean \['2'\]"),
    (lambda: sc.quantize(mlp(), X, keep=["3"]), "unknown module in keep '3'"),
    (lambda: sc.quantize(mlp(), torch.full((4, 8), float("nan"))), "NaN"),
    (lambda: sc.quantize(with_nan(), X), "parameter '0.weight' holds 1 NaN or infinite values of 128"),
    (lambda: sc.quantize(with_nan(), bits=16), "parameter '0.weight' holds 1 NaN or infinite values of 128"),
    (lambda: sc.quantize(nn.Sequential(nn.ReLU()), X), "no layer of Sequential can be quantised"),
    (lambda: sc.quantize(nn.Sequential(Inf(), nn.Linear(8, 2)), X), "layer '1': its inputs hold NaN"),
])
def test_what_cannot_be_done_is_one_line(call, message):
    with pytest.raises(sc.SecateurError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class Inf(nn.Module):
    """Gives infinities."""

    def forward(self, x):
        return x / 0


def test_a_constant_activation_is_met_exactly():
    net = nn.Sequential(nn.Linear(8, 4), nn.Threshold(1e9, 0.3), nn.Linear(4, 2))
    made = sc.quantize(net, X)
    assert (made(X) - net(X)).abs().max() < 1e-3
    dead = nn.Sequential(nn.Linear(8, 4), nn.Threshold(1e9, 0.0), nn.Linear(4, 2))
    assert torch.allclose(sc.quantize(dead, X)(X), dead(X), atol=2e-5)


@pytest.mark.parametrize("samples", [torch.rand(1, 8), torch.full((64, 8), 0.37)], ids=["one", "all the same"])
def test_samples_without_variance_leave_weights_at_their_nearest_codes(samples):
    net = mlp()
    made = sc.quantize(net, samples, keep=())
    for name in ("0", "2"):
        weight, layer = net.get_submodule(name).weight.detach(), made.get_submodule(name)
        nearest = (weight / layer.scale[:, None]).round().clamp(-127, 127)
        assert torch.equal(layer.codes.float(), nearest)


def test_a_quantized_network_is_copied_pickled_and_loaded():
    made = sc.quantize(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2)), torch.rand(64, 1, 4, 4))
    x = torch.rand(5, 1, 4, 4)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(again(x), made(x))
    again = copy.deepcopy(made)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(x), made(x))


def test_a_traced_program_holds_the_layers_as_operators():
    made = sc.quantize(mlp(), X)
    batch = torch.export.Dim("batch")
    program = torch.export.export(made, (X[:3],), dynamic_shapes=({0: batch},))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets == ["secateur.int8_linear.default", "aten.relu.default", "secateur.int8_linear.default"]
    assert torch.equal(program.module()(X), made(X))


def test_a_network_of_which_every_layer_loses_too_much_is_refused():
    torch.manual_seed(0)
    net = nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        net.weight[:, 0] = 0
    spread = X * torch.tensor([1e4, *[1.0] * 7])
    with pytest.raises(sc.SecateurError, match=r"every layer .* loses too much; allowed is keep=\(\)"):
        sc.quantize(nn.Sequential(net), spread, ranges="minmax", rounding="nearest")


def test_compensation_that_leads_away_is_not_taken(monkeypatch):
    from secateur.recovery import conversion

    wrong = lambda weight, scale, moments: torch.zeros_like(weight)  # noqa: E731
    monkeypatch.setattr(conversion, "round_rows", wrong)
    made = sc.quantize(mlp(), X)
    assert torch.equal(made[0].codes, sc.quantize(mlp(), X, rounding="nearest")[0].codes)


def test_outputs_of_one_value_are_compared_by_their_variance_and_not_by_their_sign():
    net = nn.Linear(8, 1)
    with torch.no_grad():
        net.weight[:, 0], net.bias[:] = 0, 100.0  # always positive: the cosine of single values is 1
    spread = X * torch.tensor([1e4, *[1.0] * 7])
    with pytest.raises(sc.SecateurError, match="every layer .* loses too much"):
        sc.quantize(nn.Sequential(net), spread, ranges="minmax", rounding="nearest")


@pytest.mark.parametrize("verb", [
    lambda net: sc.quantize(net, X), lambda net: sc.prune(net, 0.5, data=X), lambda net: sc.plan(net, 0.5),
    lambda net: sc.search(net, X, agreement=0.9)], ids=["quantize", "prune", "plan", "search"])
def test_a_quantized_network_from_a_file_is_refused_like_the_one_that_was_saved(verb, tmp_path):
    path = sc.save(sc.quantize(mlp(), X, keep=()), tmp_path / "int8.safetensors", example=X[:2])
    with pytest.raises(sc.SecateurError, match="'0.codes' holds int8, codes of a quantised weight: prune first"):
        verb(sc.load(path))
