"""Properties of products and convolutions: kernels and slow twins at odd sizes, sparsities, strides and values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import sweep
from torch import nn
from torch.nn.functional import conv1d, conv2d, linear

from secateur import runtime
from secateur.runtime import reference
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import runner
from secateur.runtime.frontend.capture import capture
from secateur.runtime.schedule.build import build, widths

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")
SIZES = (1, 2, 3, 7, 13, 15, 16, 17, 31, 63, 64, 65, 127)
WIDE = (1000, 997)
steady = settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
        torch.set_num_threads(1)
        yield


def kernels(program, x, y):
    return runner.run(program, [x.ctypes.data, y.ctypes.data], 0, len(x), 1, split=False)


def slow(program, x, y):
    return reference.run(program, [x, y], len(x))


GO = pytest.mark.parametrize("go", [kernels, slow])


@st.composite
def weights(draw, rows, columns):
    """A matrix of any sparsity, some of its rows and columns empty or full."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weight = rng.standard_normal((rows, columns), np.float32)
    weight *= rng.random((rows, columns)) >= draw(st.sampled_from([0, 0.3, 0.55, 0.8, 0.9, 0.98, 1]))
    for value, axis in itertools.product((0, 1), (0, 1)):
        if draw(st.booleans()):
            line = draw(st.integers(0, weight.shape[axis] - 1))
            weight[(slice(None),) * axis + (line,)] = value
    return weight


def close(got, wanted, exact):
    """Against float64, at most a small multiple of torch's own error in float32."""
    scale = np.abs(exact).max(initial=0)
    own = np.abs(wanted - exact).max(initial=0)
    assert np.abs(got - exact).max(initial=0) <= 4 * own + 1e-6 * scale


def module(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
    return layer


@GO
@given(data=st.data())
@steady
def test_products(go, data):
    name = data.draw(st.sampled_from(isas.available()))
    columns = data.draw(st.sampled_from(SIZES + (WIDE if go is kernels else ())))
    rows = data.draw(st.sampled_from(SIZES if go is kernels else SIZES[:8]))
    weight = data.draw(weights(rows, columns))
    net = nn.Sequential(module(weight, data.draw(st.booleans())))
    (segment,) = capture(net, (torch.zeros(2, columns),)).segments
    width = data.draw(st.sampled_from(widths(isas.ISAS[name], segment)))
    pick, batch = data.draw(st.integers(0, 3)), data.draw(st.sampled_from([1, 3, 16, 17, 65]))
    program = build(segment, width, isas.ISAS[name], lambda _, options: options[pick % len(options)])
    x = np.random.default_rng(batch).standard_normal((batch, columns), np.float32)
    got = np.full((batch, rows), np.nan, np.float32)
    assert not go(program, x, got)
    bias = net[0].bias
    with torch.no_grad():
        wanted = linear(torch.from_numpy(x), net[0].weight, bias).numpy()
        exact = linear(torch.from_numpy(x).double(), net[0].weight.double(), None if bias is None else bias.double())
    close(got, wanted, exact.numpy())


@st.composite
def convolutions(draw):
    """A layer of odd strides, paddings, dilations and groups, and a shape that it takes."""
    axes = draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]))
    each = [draw(st.tuples(*[st.integers(low, high)] * axes)) for low, high in ((1, 4), (1, 3), (0, 3), (1, 3))]
    inside, out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 4))
    layer = (nn.Conv1d if axes == 1 else nn.Conv2d)(inside, out, *each, groups, draw(st.booleans()))
    window, _, padding, dilation = each
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(window, padding, dilation, strict=True)]
    shape = (inside, *(n + draw(st.integers(0, 17)) for n in least))
    weight = draw(weights(out, layer.weight[0].numel()))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).reshape(layer.weight.shape))
    return layer, shape


@pytest.mark.parametrize("go", sweep([kernels, slow], lambda go: go is slow))
@given(data=st.data())
@steady
def test_convolutions(go, data):
    name, (layer, shape) = data.draw(st.sampled_from(isas.available())), data.draw(convolutions())
    found = capture(nn.Sequential(layer), (torch.zeros(2, *shape),))
    assert not found.refused
    (segment,) = found.segments
    width, pick = data.draw(st.sampled_from(widths(isas.ISAS[name], segment))), data.draw(st.integers(0, 3))
    program = build(segment, width, isas.ISAS[name], lambda _, options: options[pick % len(options)])
    x = torch.randn(data.draw(st.sampled_from([1, 7, 17])), *shape)
    function = conv1d if len(shape) == 2 else conv2d
    settings_of = layer.stride, layer.padding, layer.dilation, layer.groups
    with torch.no_grad():
        wanted, bias = layer(x), layer.bias
        exact = function(x.double(), layer.weight.double(), None if bias is None else bias.double(), *settings_of)
    got = np.full(wanted.shape, np.nan, np.float32)
    assert not go(program, x.numpy(), got)
    close(got, wanted.numpy(), exact.numpy())


def net(sparsity=0.7):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(19, 33), nn.ReLU(), nn.Linear(33, 17), nn.LeakyReLU(0.1), nn.Linear(17, 5))
    with torch.no_grad():
        for layer in made[::2]:
            layer.weight[torch.rand_like(layer.weight) < sparsity] = 0
    return made.eval()


STRANGE = (float("nan"), float("inf"), -float("inf"), 1e-40, -1e-45, 3e38, -0.0)


@pytest.mark.slow
@given(value=st.sampled_from(STRANGE), where=st.sampled_from(["input", "weight", "bias"]),
       layer=st.sampled_from([0, 2]), place=st.integers(0, 84), rows=st.sampled_from([1, 5, 17]),
       name=st.sampled_from(isas.available()))
@steady
def test_strange_values_come_out_as_torch_has_them(value, where, layer, place, rows, name):
    made, x = net(), torch.randn(rows, 19)
    target = x if where == "input" else getattr(made[layer], where).data
    target.view(-1)[place % target.numel()] = value
    fast = runtime.compile(made, torch.zeros(3, 19), isa=name, always=True, budget=0)
    with torch.no_grad():
        got, wanted = fast(x), made(x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_denormals_are_not_flushed():
    made = nn.Sequential(module(np.eye(20, dtype=np.float32) * 1e-3, bias=False))
    x = torch.full((4, 20), 1e-38) * torch.arange(1, 21)
    for name in isas.available():
        got = runtime.compile(made, x, isa=name, always=True, budget=0)(x)
        assert got.ne(0).all()
        torch.testing.assert_close(got, x * 1e-3, rtol=1e-3, atol=3e-45)


@given(step=st.integers(1, 5), start=st.integers(0, 3), rows=st.integers(0, 20), kind=st.sampled_from(
    ["rows", "columns", "transposed", "expanded", "offset"]))
@steady
def test_inputs_of_any_strides(step, start, rows, kind):
    made = net()
    fast = compiled_once()
    x = {"rows": lambda: torch.randn(step * rows, 19)[::step],
         "columns": lambda: torch.randn(rows, 19 * step + start)[:, start::step][:, :19],
         "transposed": lambda: torch.randn(19, rows).T,
         "expanded": lambda: torch.randn(1, 19).expand(rows, 19),
         "offset": lambda: torch.randn(rows * 19 + start)[start:].view(rows, 19)}[kind]()
    with torch.no_grad():
        got = fast(x)
        torch.testing.assert_close(got, made(x), rtol=1e-4, atol=1e-5)
    assert got.shape == (rows, 5)


_HELD = []


def compiled_once():
    if not _HELD:
        _HELD.append(runtime.compile(net(), torch.zeros(2, 19), always=True, budget=0))
    return _HELD[0]


def test_an_empty_matrix_gives_the_bias():
    made = nn.Sequential(module(np.zeros((6, 4), np.float32), bias=True), nn.Tanh())
    for name, batch in itertools.product(isas.available(), (1, 20)):
        got = runtime.compile(made, torch.zeros(2, 4), isa=name, always=True, budget=0)(torch.randn(batch, 4))
        torch.testing.assert_close(got, made[0].bias.detach().tanh().expand(batch, 6))
