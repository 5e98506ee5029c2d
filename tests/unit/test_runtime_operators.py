"""Operators over rows and features, fixed factors, joins: kernels and twins against torch in double precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from support import diagonal, sweep
from torch import nn
from torch.nn import functional as F

from secateur import runtime
from secateur.models.builtin.vit_tiny import VitTiny
from secateur.runtime import reference
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import runner
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.schedule.build import build, widths

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")
NAMES = isas.available()


@pytest.fixture(autouse=True)
def _seeded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def prune(net: nn.Module, sparsity: float = 0.9) -> nn.Module:
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and "positions" not in name:
            parameter.data[torch.rand_like(parameter) < sparsity] = 0
        elif "norm" in name:
            parameter.data.normal_()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_()
    return net.eval()


def check(net, fast, *inputs):
    with torch.no_grad():
        wanted, got = net(*inputs), fast(*inputs)
        exact = net.double()(*(x.double() if x.is_floating_point() else x for x in inputs))
        net.float()
    own = (wanted - exact).abs().max()
    assert got.shape == wanted.shape
    assert (got - exact).abs().max() <= 4 * own + 1e-6 * exact.abs().max()


def row_ops(features: int, which: str) -> tuple[Segment, list[Op]]:
    rng = np.random.default_rng(features)
    x, y = Value(0, (features,)), Value(1, (features,))
    scale, shift = (rng.standard_normal(features).astype(np.float32) for _ in range(2))
    settings = {"norm": {"scale": scale, "shift": shift, "eps": 1e-5},
                "plain norm": {"scale": None, "shift": None, "eps": 1e-3},
                "shifted norm": {"scale": None, "shift": shift, "eps": 1e-5},
                "softmax": {}, "affine": {"factor": scale, "offset": shift}}[which]
    op = Op(which.split()[-1], which, (x,), y, act="relu" if which == "affine" else "none", settings=settings)
    return Segment((x,), (op,), (y,))


def truth(segment: Segment, x: np.ndarray) -> np.ndarray:
    op, x = segment.ops[0], torch.from_numpy(x).double()
    if op.kind == "softmax":
        return torch.softmax(x, -1).numpy()
    if op.kind == "affine":
        return torch.relu(x * torch.tensor(op.settings["factor"]) + torch.tensor(op.settings["offset"])).numpy()
    scale, shift = (None if op.settings[k] is None else torch.tensor(op.settings[k]).double()
                    for k in ("scale", "shift"))
    return F.layer_norm(x, x.shape[1:], scale, shift, op.settings["eps"]).numpy()


def kernels(program, x, y):
    return runner.run(program, [x.ctypes.data, y.ctypes.data], 0, len(x), 1, False)


def slow(program, x, y):
    return reference.run(program, [x, y], len(x))


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize("which", ["norm", "plain norm", "shifted norm", "softmax", "affine"])
@pytest.mark.parametrize("name", NAMES)
def test_rows_equal_float64(name, which, go):
    isa = isas.ISAS[name]
    for features in (1, 3, 16, 31, 65, 200):
        segment = row_ops(features, which)
        for width in widths(isa, segment):
            program = build(segment, width, isa, lambda op, options: options[0], 2)
            x = np.random.default_rng(1).standard_normal((width + 1, features)).astype(np.float32) * 3 + 5
            y = np.full_like(x, np.nan)
            assert not go(program, x, y)
            np.testing.assert_allclose(y, truth(segment, x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize("name", NAMES)
def test_rows_that_become_nan_or_infinite_raise_the_flag(name, go):
    isa = isas.ISAS[name]
    for which, width in itertools.product(("norm", "softmax", "affine"), (1, 8)):
        segment = row_ops(9, which)
        program = build(segment, width, isa, lambda op, options: options[0])
        for bad in (np.nan, np.inf, -np.inf):
            x = np.ones((width, 9), np.float32)
            x[-1, 4] = bad
            assert go(program, x, np.zeros_like(x))
    huge = np.full((8, 9), 3e38, np.float32)
    huge[:, ::2] *= -1
    assert go(build(row_ops(9, "norm"), 8, isa, lambda op, options: options[0]), huge, np.zeros_like(huge))


def test_a_norm_of_large_equal_values_keeps_its_digits():
    segment = row_ops(96, "plain norm")
    x = (np.random.default_rng(0).standard_normal((8, 96)) + 3000).astype(np.float32)
    for width in (1, 8, 64):
        y = np.zeros_like(x)
        kernels(build(segment, width, isas.pick(), lambda op, options: options[0]), x, y)
        own = np.abs(F.layer_norm(torch.from_numpy(x), (96,), eps=1e-3).numpy() - truth(segment, x)).max()
        assert np.abs(y - truth(segment, x)).max() <= 4 * own


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize(("kind", "solved"), [("sub", [-2, 0]), ("mul", [8, 9]), ("div", [0.5, 1.0])])
def test_two_values_joined_hand_solved(kind, solved, go):
    x, y, z = (Value(k, (2,)) for k in range(3))
    one = Op("affine", "a", (x,), y, settings={"factor": np.array([2.0, 1.0]), "offset": np.zeros(2)})
    segment = Segment((x,), (one, Op(kind, "b", (x, y), z)), (z,))
    for name, width in itertools.product(NAMES, (1, 8)):
        out = np.zeros((1, 2), np.float32)
        inputs = np.array([[2, 3]], np.float32)
        assert not go(build(segment, width, isas.ISAS[name], lambda op, options: options[0]), inputs, out)
        assert out.tolist() == [solved]


class Block(nn.Module):
    def __init__(self, width=24, heads=4, hidden=40):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.heads = nn.Linear(width, hidden), nn.Linear(hidden, width, bias=False), heads

    def forward(self, x, mask=None):
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = None if mask is None else mask[:, None, None, :]
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Bert(nn.Module):
    """Token and position embeddings, two blocks under a mask of padding, a classifier on the first token."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(30, 24), nn.Embedding(64, 24)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm, self.end = nn.LayerNorm(24), nn.Linear(24, 3)

    def forward(self, ids, mask):
        x = self.norm(self.tokens(ids) + self.positions(torch.arange(ids.shape[1])))
        for block in self.blocks:
            x = block(x, mask)
        return torch.softmax(self.end(torch.tanh(x[:, 0])), -1)


@pytest.mark.parametrize("isa", sweep(NAMES, NAMES[:1].__contains__))
def test_a_vision_transformer(isa):
    net = prune(VitTiny((1, 12, 12), 10))
    fast = runtime.compile(net, torch.rand(2, 1, 12, 12), always=True, budget=0, isa=isa)
    assert "linear" not in "".join(node for node, _ in fast.captured.refused)
    assert "layer_norm" not in "".join(node for node, _ in fast.captured.refused)
    assert fast.captured.weights == 18
    for batch in (1, 3, 20):
        check(net, fast, torch.rand(batch, 1, 12, 12))


@pytest.mark.parametrize("isa", sweep(NAMES, NAMES[-1:].__contains__))
def test_a_bert_like_network_of_any_batch_and_length(isa):
    net = prune(Bert())
    fast = runtime.compile(net, (torch.randint(30, (2, 5)), torch.ones(2, 5, dtype=torch.bool)), always=True,
                           budget=0, isa=isa)
    assert fast.captured.weights == 9
    for batch, length in ((1, 1), (1, 7), (2, 5), (3, 64), (9, 16)):
        mask = torch.rand(batch, length) < 0.8
        mask[:, 0] = True
        check(net, fast, torch.randint(30, (batch, length)), mask)


def test_torchs_own_encoder_of_any_batch_and_length():
    layer = nn.TransformerEncoderLayer(24, 4, 40, batch_first=True, activation="gelu")
    net = prune(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    fast = runtime.compile(net, torch.randn(2, 5, 24), always=True, budget=0)
    for batch, length in ((1, 1), (2, 5), (7, 31)):
        check(net, fast, torch.randn(batch, length, 24))


def test_nan_in_one_token_comes_out_as_torch_has_it():
    net = prune(Block())
    fast = runtime.compile(net, torch.randn(2, 5, 24), always=True, budget=0)
    x = torch.randn(2, 6, 24)
    x[1, 2, 3] = float("nan")
    with torch.no_grad():
        assert fast(x)[0].isfinite().all()
        torch.testing.assert_close(fast(x), net(x), equal_nan=True)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.norm, self.depth = nn.BatchNorm2d(6), nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6)
        self.scale = nn.Parameter(torch.randn(12, 1, 1))

    def forward(self, x):
        x = self.norm(torch.relu(self.first(x)))
        x = x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))
        return self.depth(x) * self.scale + 0.5


class Powers(nn.Module):
    """Fixed factors, matrices on the right, differences and quotients."""

    def __init__(self):
        super().__init__()
        self.a, self.matrix = nn.Linear(7, 9), nn.Parameter(torch.randn(9, 5))
        self.bias, self.norm = nn.Parameter(torch.randn(5)), nn.BatchNorm1d(7)

    def forward(self, x):
        h = self.a(torch.relu(self.norm(x)) * 2 - 0.25)
        k = torch.addmm(self.bias, -h, self.matrix)
        return (1 - k) / 3 - k * torch.sigmoid(k) + torch.softmax(h @ self.matrix, 1)


def nets():
    return {
        "squeeze": (Squeeze(), (3, 8, 6)),
        "powers": (Powers(), (7,)),
        "norm of planes": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 5, 6]), nn.Conv2d(4, 3, 3, padding=1)),
                           (2, 7, 8)),
        "rounds up": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.BatchNorm2d(4),
                                    nn.AvgPool2d(2, ceil_mode=True)), (2, 10, 9)),
        "averages": (nn.Sequential(nn.Conv2d(2, 4, 1), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
                                   nn.AvgPool2d(2, 1, divisor_override=3),
                                   nn.AvgPool2d(2, 2, 1, ceil_mode=True, count_include_pad=False)), (2, 10, 8)),
        "lines": (nn.Sequential(nn.Conv1d(3, 5, 3, padding="same"), nn.MaxPool1d(3, 2, ceil_mode=True), nn.ReLU(),
                                nn.AvgPool1d(2), nn.BatchNorm1d(5)), (3, 22)),
        "depthwise": (nn.Sequential(nn.Conv2d(6, 6, 3, stride=3, padding=1, groups=6), nn.ReLU6(),
                                    nn.Conv2d(6, 12, (5, 3), stride=(2, 1), padding=2, groups=3)), (6, 17, 13)),
        "inner rows": (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Unflatten(1, (2, 2)), nn.Linear(8, 3),
                                     nn.Flatten(1), nn.Linear(12, 2)), (4, 6)),
    }


@pytest.mark.parametrize(("name", "isa"), diagonal(sorted(nets()), NAMES or [""]))
def test_networks_equal_float64(name, isa):
    net, shape = nets()[name]
    net = prune(net, 0.6)
    fast = runtime.compile(net, torch.randn(2, *shape), isa=isa, always=True, budget=0)
    refused = [node for node, _ in fast.captured.refused]
    assert not refused or name == "inner rows", fast.explain()
    for batch in (1, 9, 21):
        check(net, fast, torch.randn(batch, *shape))


def test_what_writes_in_place_under_two_names_stays_right():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)

        def forward(self, x):
            h = self.a(x)
            flat = h.view(-1, 2, 4)
            k = torch.relu_(h)
            return self.b(k) + flat.sum(1)

    net = prune(Twice(), 0.5)
    check(net, runtime.compile(net, torch.randn(3, 6), always=True, budget=0), torch.randn(5, 6))


def test_branches_around_an_unknown_operator_are_one_segment_each_side():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.c(torch.cumsum(self.a(x), 1) + self.b(x))

    net = prune(Forked(), 0.5)
    fast = runtime.compile(net, torch.randn(3, 6), always=True, budget=0)
    assert len(fast.captured.segments) == 2
    check(net, fast, torch.randn(5, 6))


def test_a_network_with_bounds_runs_in_torch_outside_of_them():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x):
            return self.a(x) * 2 if x.shape[0] > 8 else self.a(x)

    net = prune(Long(), 0.5)
    fast = runtime.compile(net, torch.randn(16, 6), always=True, budget=0)
    for batch in (16, 30, 4, 9, 8, 1):
        check(net, fast, torch.randn(batch, 6))


@pytest.mark.parametrize("isa", ["avx512", "avx2", "neon"])
def test_code_for_every_instruction_set_is_generated(isa):
    from secateur.runtime.codegen import jit
    from secateur.runtime.codegen.kernels.planes import Planes, Pool
    from secateur.runtime.codegen.kernels.pointwise import Pointwise
    from secateur.runtime.codegen.kernels.rows import LayerNorm, Softmax
    from secateur.runtime.codegen.kernels.scale import Scale

    target = isas.ISAS[isa]
    lanes = target.lanes
    for spec in (LayerNorm(lanes, 2 * lanes, 1e-5, True, True), LayerNorm(lanes, 1, 1e-5, True, False),
                 Softmax(lanes, lanes), Softmax(lanes, 1), Scale(lanes, 2, "relu"), Scale(1, 1, "gelu"),
                 Pointwise(lanes, lanes, 2, "none", "div"), Planes(lanes, 2, "none", "mul", (1,)),
                 Planes(lanes, 2, "none", "mul", (1,), ragged=True),
                 Pool(lanes, "avg", (2, 2), (2, 2), (0, 0), True, 3)):
        assert len(jit.emit(spec.text("f", target), target)) > 500
