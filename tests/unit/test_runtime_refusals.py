"""What cannot be compiled or run is refused before anything is compiled, with what was got and what is allowed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from secateur import SecateurError, runtime
from secateur.runtime import network
from secateur.runtime.codegen import isa as isas

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def sequence():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


@pytest.mark.parametrize(("model", "example", "message"), [
    (sequence().double(), torch.randn(2, 6).double(), "'0.weight' is torch.float64, allowed: torch.float32"),
    (sequence().bfloat16(), torch.randn(2, 6).bfloat16(), "torch.bfloat16, allowed: torch.float32"),
    (sequence().to("meta"), torch.randn(2, 6), "'0.weight' is on 'meta', allowed: cpu"),
    (sequence(), torch.randn(2, 6, device="meta"), "on 'meta', allowed: cpu"),
    (sequence(), torch.randn(2, 7), "the example does not run"),
    (sequence(), torch.randn(2, 6).to_sparse(), "got layout torch.sparse_coo, allowed: torch.strided"),
    (sequence(), (), "got an empty example"),
    (sequence(), None, "got no example"),
    (sequence(), [[1.0] * 6], "got list, allowed: a tensor"),
    (lambda x: x, torch.randn(2, 6), "got function as model"),
])
def test_nothing_is_captured_before_the_refusal(model, example, message, monkeypatch):
    def never(*arguments):
        raise AssertionError("captured")

    monkeypatch.setattr(network, "capture", never)
    with pytest.raises(SecateurError, match=message):
        runtime.compile(model, example, engine="kernels")


@pytest.mark.parametrize(("inputs", "message"), [
    ((torch.randn(2, 5, 6),), "got shape .2, 5, 6., allowed: .batch, 6."),
    ((torch.randn(6),), "got shape"),
    ((torch.randn(2, 6), torch.randn(2, 6)), "got 2 inputs, the network takes 1"),
    ((torch.randn(2, 6).half(),), "torch.float16, allowed: torch.float32"),
    ((torch.ones(2, 6, dtype=torch.int64),), "torch.int64, allowed: torch.float32"),
    ((torch.randn(2, 6).to_sparse(),), "allowed: torch.strided"),
    ((torch.randn(2, 6, requires_grad=True),), "inference only"),
])
def test_calls_that_do_not_fit(inputs, message):
    fast = runtime.compile(sequence(), torch.randn(3, 6), budget=0, always=True)
    with pytest.raises(SecateurError, match=message):
        fast(*inputs)


def test_inputs_of_different_counts_of_rows():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x, y):
            return self.a(x) + y

    fast = runtime.compile(Two().eval(), (torch.randn(3, 6), torch.randn(3, 4)), budget=0, always=True)
    with pytest.raises(SecateurError, match="input 1: got 2 rows, input 0 has 5"):
        fast(torch.randn(5, 6), torch.randn(2, 4))


def test_weights_are_those_at_the_time_of_compiling():
    net = sequence()
    x = torch.randn(5, 6)
    fast = runtime.compile(net, x, budget=0, always=True)
    with torch.no_grad():
        wanted = net(x)
        net[0].weight.zero_()
        torch.testing.assert_close(fast(x), wanted)


def test_masks_and_parametrised_weights_are_fixed_when_compiled():
    net = sequence()
    prune.l1_unstructured(net[0], "weight", 0.75)
    parametrizations.weight_norm(net[2])
    x = torch.randn(5, 6)
    fast = runtime.compile(net.eval(), x, budget=0, always=True)
    assert [round(row.sparsity, 2) for row in fast.rows()] == [0.75, 0.0]
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x))
