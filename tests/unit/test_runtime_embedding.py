"""The compiled network inside other things: torch.compile, export, autocast, autograd, threads, no llvmlite."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from secateur import SecateurError, runtime
from secateur.runtime.codegen import isa as isas

needs_kernels = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)


def net(seed=0, width=24):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(45, width), nn.GELU(), nn.Linear(width, 4))
    with torch.no_grad():
        for layer in (made[0], made[4], made[6]):
            layer.weight[torch.rand_like(layer.weight) < 0.7] = 0
    return made.eval()


def fast_of(made):
    return runtime.compile(made, torch.zeros(2, 2, 6, 6), engine="kernels", always=True, budget=0)


def close(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@needs_kernels
def test_the_operator_is_a_proper_one():
    fast = fast_of(net())
    (segment,) = fast.runners
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    found = torch.library.opcheck(torch.ops.secateur.segment.default, ([torch.randn(3, 2, 6, 6)], segment.handle),
                                  test_utils=checks)
    assert found == dict.fromkeys(checks, "SUCCESS")


@needs_kernels
def test_a_larger_module_is_compiled_around_it():
    made = net()
    fast = fast_of(made)

    class Around(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return torch.sin(self.inner(x * 2) + 1)

    with torch.no_grad():
        whole = torch.compile(Around(fast), backend="aot_eager", fullgraph=True, dynamic=True)
        for batch in (2, 5, 17):
            x = torch.randn(batch, 2, 6, 6)
            close(whole(x), Around(made)(x))


@needs_kernels
def test_export_keeps_the_batch_open():
    made, x = net(), torch.randn(4, 2, 6, 6)
    fast = fast_of(made)  # the program runs the kernels of this network, and holds it only weakly
    with torch.no_grad():
        program = torch.export.export(fast, (x,), dynamic_shapes=(({0: torch.export.Dim.AUTO},),),
                                      strict=False)
        wanted = made(x)
    assert sum("secateur" in str(n.target) for n in program.graph.nodes) == 1
    close(program.module()(x), wanted)


@needs_kernels
def test_autocast_changes_nothing_inside():
    made, x = net(), torch.randn(4, 2, 6, 6)
    fast = fast_of(made)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = fast(x)
        half = fast(x.bfloat16())
    with torch.no_grad():
        close(got, made(x))
        close(half, made(x.bfloat16().float()))
    assert got.dtype == half.dtype == torch.float32


@needs_kernels
def test_training_is_refused_in_words():
    fast = fast_of(net())
    x = torch.randn(2, 2, 6, 6, requires_grad=True)
    with pytest.raises(SecateurError, match="inference only; train the pruned model"):
        fast(x)
    with pytest.raises(SecateurError, match="inference only; train the pruned model"):
        fast.train()
    with torch.no_grad():
        assert not fast(x).requires_grad
    assert not fast(x.detach()).requires_grad
    assert list(fast.eval().parameters(recurse=False)) == []


@needs_kernels
@pytest.mark.parametrize("workers", [1, 2])
def test_python_threads_share_networks(workers):
    torch.set_num_threads(workers)
    made = [net(seed, 16 + seed) for seed in range(3)]
    fast = [fast_of(m) for m in made]
    inputs = [torch.randn(batch, 2, 6, 6) for batch in (1, 5, 16, 33)]
    with torch.no_grad():
        wanted = [[m(x) for x in inputs] for m in made]
    problems = []

    def work(first):
        torch.set_num_threads(workers)
        for turn in range(30):
            k, j = (first + turn) % 3, (first + turn // 3) % 4
            with torch.no_grad():
                if not torch.allclose(fast[k](inputs[j]), wanted[k][j], rtol=1e-4, atol=1e-5):
                    problems.append((k, j))

    pool = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    [t.start() for t in pool]
    [t.join() for t in pool]
    torch.set_num_threads(1)
    assert not problems


WITHOUT = """
import sys, warnings
sys.modules["llvmlite"] = None
import torch
import secateur as sc
net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU())
x = torch.randn(5, 6)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    made = [sc.compile(net, x) for _ in range(3)]
assert all(torch.equal(fast(x), net(x)) for fast in made)
print(made[0].engine, sum("llvmlite" in str(w.message) for w in said))
"""


def test_without_llvmlite_torch_runs_and_says_so_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["torch", "1"]
