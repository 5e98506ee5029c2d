"""The edges of a compiled network: state, copies, other devices and types, tracing, export, options."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from secateur import runtime
from secateur.core.errors import SecateurError, UnsupportedError
from secateur.runtime.codegen import isa as isas

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _seeded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def compiled(network=None, x=None, **options):
    network = nn.Linear(8, 8).eval() if network is None else network
    return runtime.compile(network, torch.rand(4, 8) if x is None else x, always=True, budget=0, **options)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(8))

    def forward(self, x):
        self.calls += 1
        return self.inner(x) + self.calls


def test_a_network_that_counts_its_calls_runs_in_torch_and_stays_as_it_is():
    network, x = Counter().eval(), torch.rand(4, 8)
    with pytest.raises(UnsupportedError, match="its own buffer 'calls' at every call"):
        compiled(network, engine="kernels")
    with pytest.warns(RuntimeWarning, match="its own buffer 'calls'"):
        fast = runtime.compile(network, x)
    assert float(network.calls.sum()) == 0
    torch.testing.assert_close(fast(x), network(x))
    torch.testing.assert_close(fast(x), network(x))


def test_the_example_is_not_written_to():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 3)

        def forward(self, x):
            return self.inner(x.relu_())

    x = torch.randn(4, 8)
    kept = x.clone()
    compiled(InPlace().eval(), x)
    assert torch.equal(x, kept)


@pytest.mark.slow
def test_an_exported_program_never_runs_another_network(tmp_path):
    save = ("import sys, torch, secateur as sc; torch.manual_seed(int(sys.argv[1])); x = torch.rand(4, 8);"
            "f = sc.compile(torch.nn.Linear(8, 8).eval(), x, always=True, budget=0);")
    write = save + "torch.export.save(torch.export.export(f, (x,)), sys.argv[2])"
    read = save + "torch.export.load(sys.argv[2]).module()(x)"
    path = str(tmp_path / "p.pt2")
    subprocess.run([sys.executable, "-c", write, "1", path], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", read, "2", path], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "lives in another process" in done.stderr


def test_an_exported_program_outlived_by_its_network_says_so():
    fast, x = compiled(), torch.rand(4, 8)
    program = torch.export.export(fast, (x,)).module()
    torch.testing.assert_close(program(x), fast(x))
    del fast
    gc.collect()
    with pytest.raises(UnsupportedError, match="is gone"):
        program(x)


def test_default_device_and_type_do_not_matter():
    network, x, y = nn.Linear(8, 8).eval(), torch.rand(4, 8), torch.rand(9, 8)
    fast = runtime.compile(network, x, budget=0.05)
    wanted = network(y)
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(fast(y), wanted)
    finally:
        torch.set_default_dtype(torch.float32)
    fast = compiled(network)
    with torch.device("meta"):
        torch.testing.assert_close(fast(y), wanted)


def test_the_global_generator_is_left_alone():
    network, x = nn.Linear(8, 8).eval(), torch.rand(4, 8)
    state = torch.get_rng_state()
    fast = runtime.compile(network, x, budget=0.05)
    fast(torch.zeros(7, 8))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_negated_view_keeps_its_sign():
    fast = compiled(nn.Linear(1, 1).eval(), torch.rand(4, 1))
    x = torch.randn(1, 2, dtype=torch.cfloat)[:, :1].conj().imag
    assert x.is_neg()
    assert torch.equal(fast(x), fast(x.clone()))


def test_tracing_is_refused():
    with pytest.raises(UnsupportedError, match=r"torch\.jit\.trace cannot see"):
        torch.jit.trace(compiled(), torch.rand(4, 8), check_trace=False)


def test_copies_are_the_network_itself_and_pickles_are_refused():
    fast, x = compiled(), torch.rand(3, 8)
    assert torch.equal(copy.deepcopy(nn.Sequential(fast))(x), fast(x))
    with pytest.raises(UnsupportedError, match="cannot be pickled"):
        pickle.dumps(fast)
    with pytest.raises(SecateurError, match="compiled already"):
        runtime.compile(fast, x)


def test_only_float32_on_the_cpu():
    fast = compiled()
    assert fast.float().cpu() is fast
    for change in (fast.double, fast.half, lambda: fast.to("meta")):
        with pytest.raises(UnsupportedError, match="stays float32 on the CPU"):
            change()


@pytest.mark.parametrize(("options", "message"), [
    ({"budget": "a"}, "option budget: got 'a'"), ({"budget": None}, "option budget"), ({"budget": -1}, "option budget"),
    ({"budget": float("nan")}, "option budget"), ({"always": "yes"}, "option always: got 'yes'"),
    ({"isa": 3}, "option isa"), ({"bugdet": 1}, "did you mean 'budget'"), ({"engine": 3}, "unknown engine '3'"),
    ({"engine": "csr", "budget": 1}, "option of engine 'csr'"), ({"storage": 2}, "option storage")])
def test_options_are_checked(options, message):
    with pytest.raises(SecateurError, match=message):
        runtime.compile(nn.Linear(8, 8), torch.rand(4, 8), **options)


@pytest.mark.parametrize("isa", isas.available())
@pytest.mark.parametrize("act", [nn.SiLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.Hardswish])
def test_activations_far_from_zero(act, isa):
    network = nn.Sequential(nn.Linear(16, 16, bias=False), act()).eval()
    network[0].weight.data = torch.eye(16)
    x = torch.tensor([1e37, 1e4, 200, 100, 88.5, 87, 60, 0.0])
    x = torch.cat([x, -x])[None].repeat(17, 1)
    fast = compiled(network, x, isa=isa)
    with torch.no_grad():
        for rows in (1, 17):
            torch.testing.assert_close(fast(x[:rows]), network(x[:rows]), rtol=1e-5, atol=1e-35)
