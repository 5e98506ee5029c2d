from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from secateur import SecateurError, runtime
from secateur.runtime.codegen import isa as isas

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def prune(net: nn.Module, sparsity: float) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Linear):
            weight = module.weight.data
            weight[torch.rand_like(weight) < sparsity] = 0
    return net.eval()


def mlp(sparsity: float = 0.9) -> nn.Module:
    return prune(nn.Sequential(nn.Flatten(), nn.Linear(36, 50), nn.ReLU(), nn.Linear(50, 20, bias=False), nn.ReLU(),
                               nn.Linear(20, 10)), sparsity)


def check(net, fast, *inputs):
    with torch.no_grad():
        wanted, got = net(*inputs), fast(*inputs)
        exact = net.double()(*(x.double() for x in inputs))
        net.float()
    own = (wanted - exact).abs().max()
    assert (got - exact).abs().max() <= 4 * own + 1e-6 * exact.abs().max()
    assert got.dtype == torch.float32
    assert got.is_contiguous()


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("budget", [0, 0.2])
def test_every_batch(budget, always):
    net = mlp()
    fast = runtime.compile(net, torch.randn(2, 1, 6, 6), budget=budget, always=always)
    assert fast.engine == "kernels"
    for batch in (1, 2, 3, 15, 16, 17, 63, 65, 130):
        check(net, fast, torch.randn(batch, 1, 6, 6))
    assert fast(torch.randn(0, 1, 6, 6)).shape == (0, 10)


def test_strided_inputs():
    net = mlp()
    fast = runtime.compile(net, torch.randn(1, 1, 6, 6), always=True)
    check(net, fast, torch.randn(6, 6, 1, 9).permute(3, 2, 1, 0))
    check(net, fast, torch.randn(18, 2, 6, 12)[::2, 1:, :, ::2])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_come_out_as_torch_has_them(bad):
    net = mlp(0.5)
    fast = runtime.compile(net, torch.randn(2, 1, 6, 6), always=True)
    x = torch.randn(5, 1, 6, 6)
    x[2, 0, 3, 1] = bad
    with torch.no_grad():
        assert torch.equal(fast(x).isnan(), net(x).isnan())
        torch.testing.assert_close(fast(x), net(x), equal_nan=True)
        net[1].weight[3, 4] = bad
        fast = runtime.compile(net, torch.randn(2, 1, 6, 6), always=True)
        torch.testing.assert_close(fast(x), net(x), equal_nan=True)


def test_denormals_survive():
    net = mlp()
    with torch.no_grad():
        net[1].weight *= 1e-40
    fast = runtime.compile(net, torch.randn(2, 1, 6, 6), always=True)
    check(net, fast, torch.randn(5, 1, 6, 6) * 1e3)


class Strange(nn.Module):
    """Operators that no kernel takes between those that one does, several inputs, structured outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 12), nn.Linear(12, 6), nn.Linear(6, 5)

    def forward(self, x, y):
        h = torch.relu(self.a(x))
        k = torch.cumsum(self.b(h), 1)
        return {"one": self.c(torch.relu(k)) + y.sum(), "two": (h, k)}


def test_unsupported_operators_stay_torch():
    net = prune(Strange(), 0.7)
    x, y = torch.randn(4, 8), torch.randn(4, 3)
    fast = runtime.compile(net, (x, y), always=True)
    for rows in (1, 4, 9):
        x, y = torch.randn(rows, 8), torch.randn(rows, 3)
        with torch.no_grad():
            torch.testing.assert_close(fast(x, y), net(x, y))
    text = fast.explain()
    assert "cumsum" in text
    assert "2 compiled segments" in text


def test_a_network_that_fixes_its_batch():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(8, 3)

        def forward(self, x):
            return self.a(x.reshape(4, 8))

    net = prune(Fixed(), 0.5)
    fast = runtime.compile(net, torch.randn(4, 8))
    check(net, fast, torch.randn(4, 8))


def test_explain_tells_kernel_sparsity_and_bytes():
    net = mlp(0.9)
    text = runtime.compile(net, torch.randn(64, 1, 6, 6), always=True).explain()
    assert "1: " in text
    assert "sparsity 0." in text
    assert "bytes of 7200 dense" in text


def test_several_python_threads_at_once():
    net = mlp()
    fast = runtime.compile(net, torch.randn(7, 1, 6, 6), always=True)
    inputs = [torch.randn(k, 1, 6, 6) for k in (1, 7, 16, 40)] * 5
    wrong = []

    def work(x):
        with torch.no_grad():
            for _ in range(20):
                if not torch.allclose(fast(x), net(x), atol=1e-5):
                    wrong.append(len(x))

    pool = [threading.Thread(target=work, args=(x,)) for x in inputs]
    [t.start() for t in pool]
    [t.join() for t in pool]
    assert not wrong


def test_torch_compile_and_export_see_one_operator():
    net = mlp()
    x = torch.randn(5, 1, 6, 6)
    fast = runtime.compile(net, x, always=True)
    with torch.no_grad():
        wanted = net(x)
        compiled = torch.compile(fast, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), wanted)
        program = torch.export.export(fast, (x,), strict=False)
    assert any("secateur" in str(n.target) for n in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), wanted)


def test_autocast_leaves_it_in_float32():
    net = mlp()
    x = torch.randn(5, 1, 6, 6)
    fast = runtime.compile(net, x, always=True)
    with torch.no_grad():
        wanted = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(x).dtype == torch.float32
            torch.testing.assert_close(fast(x), wanted)


@pytest.mark.parametrize(("x", "message"), [
    (torch.randn(3, 36), "input 0: got shape"),
    (torch.randn(3, 1, 6, 7), "allowed: .batch, 1, 6, 6"),
    (torch.randn(3, 1, 6, 6).double(), "torch.float64, allowed: torch.float32"),
    (torch.randn(3, 1, 6, 6, requires_grad=True), "inference only"),
    (np.zeros((3, 1, 6, 6), np.float32), "got ndarray"),
])
def test_bad_inputs_are_refused(x, message):
    fast = runtime.compile(mlp(), torch.randn(3, 1, 6, 6), budget=0)
    with pytest.raises(SecateurError, match=message):
        fast(x)


def test_without_kernels_torch_runs_and_says_so(monkeypatch):
    from secateur.runtime import dense, network

    monkeypatch.setattr(network, "pick", lambda name: None)
    dense.warn_once.cache_clear()
    net = mlp()
    x = torch.randn(3, 1, 6, 6)
    with pytest.warns(RuntimeWarning, match="sparse kernels are not used"):
        fast = runtime.compile(net, x)
    check(net, fast, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.compile(net, x)
    with pytest.raises(SecateurError, match="llvmlite is missing"):
        runtime.compile(net, x, engine="kernels")


def test_an_instruction_set_can_be_forced(monkeypatch):
    net = mlp()
    x = torch.randn(20, 1, 6, 6)
    for name in isas.available():
        monkeypatch.setenv("SECATEUR_ISA", name)
        fast = runtime.compile(net, x, always=True)
        assert f"instruction set {name}" in fast.explain()
        check(net, fast, x)
    with pytest.raises(SecateurError, match="did you mean 'avx2'"):
        runtime.compile(net, x, isa="avx")


def test_a_damaged_cache_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    from secateur.runtime.codegen import jit

    jit._LOADED.clear()
    net, x = mlp(), torch.randn(1, 1, 6, 6)
    runtime.compile(net, x)
    kept = list(tmp_path.iterdir())
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[:40])
    jit._LOADED.clear()
    check(net, runtime.compile(net, x), x)


def test_packed_weights_are_small_and_only_those_in_use_are_kept():
    net = prune(nn.Sequential(nn.Linear(300, 400, bias=False)), 0.0)
    weight = net[0].weight.data
    weight.view(-1)[weight.abs().flatten().argsort()[:108000]] = 0
    fast = runtime.compile(net, torch.randn(64, 300), always=True)
    (runner,) = fast.runners
    (schedule,) = runner.schedules.values()
    assert {width for width, _ in runner.programs} == {width for width, _ in schedule.chunks}
    assert all(program.bytes <= 0.17 * weight.numel() * 4 for program in runner.programs.values())


def test_a_layer_too_wide_for_the_stream_stays_torch():
    net = prune(nn.Sequential(nn.Linear(70_000, 2), nn.ReLU(), nn.Linear(2, 3)), 0.99)
    x = torch.randn(2, 70_000)
    fast = runtime.compile(net, x, always=True, budget=0)
    assert "more than 65534 inputs" in fast.explain()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x))
