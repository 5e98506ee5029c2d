"""Weights stored as bf16: kernels and twins on the rounded weights, the bytes, the stated error."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from support import diagonal, every
from torch import nn

from secateur import runtime
from secateur.core.errors import SecateurError
from secateur.runtime import reference
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import runner
from secateur.runtime.frontend.capture import capture
from secateur.runtime.packing.storage import as_stored
from secateur.runtime.schedule.build import build, widths

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _seeded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def networks():
    return {"products": (nn.Sequential(nn.Linear(70, 33), nn.ReLU(), nn.Linear(33, 20), nn.Tanh()), (70,)),
            "images": (nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3),
                                     nn.Flatten(), nn.Linear(80, 4)), (3, 12, 12))}


def pruned(name, sparsity):
    network, shape = networks()[name]
    for module in network:
        if hasattr(module, "weight"):
            module.weight.data[torch.rand_like(module.weight) < sparsity] = 0
    return network.eval(), shape


def rounded(network):
    """The network as it would be with every weight rounded to bf16."""
    twin = copy.deepcopy(network)
    for module in twin:
        if hasattr(module, "weight"):
            module.weight.data = module.weight.data.bfloat16().float()
    return twin


@pytest.mark.parametrize(("name", "sparsity", "isa"), diagonal(sorted(networks()), [0.0, 0.5, 0.9],
                                                                isas.available() or [""]))
def test_outputs_are_those_of_the_rounded_weights(name, sparsity, isa):
    network, shape = pruned(name, sparsity)
    fast = runtime.compile(network, torch.randn(2, *shape), isa=isa, always=True, budget=0, storage="bf16")
    for batch in (1, 2, 9, 17, 70):
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), rounded(network)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", every(2, sorted(networks())))
def test_twins_agree(name):
    network, shape = pruned(name, 0.6)
    (segment,) = capture(network, (torch.randn(2, *shape),)).segments
    segment, isa = as_stored(segment, "bf16"), isas.pick()
    for width in widths(isa, segment):
        for pick in (0, -1):
            program = build(segment, width, isa, lambda op, options, k=pick: options[k], parts=2)
            x = torch.randn(3, *shape).numpy()
            fast, twin = (np.zeros((3, *segment.outputs[0].shape), np.float32) for _ in range(2))
            assert not runner.run(program, [x.ctypes.data, fast.ctypes.data], 0, 3, 1, False)
            assert not reference.run(program, [x, twin], 3)
            np.testing.assert_allclose(fast, twin, rtol=1e-4, atol=1e-5)


def test_fewer_bytes_and_the_error_said():
    network, shape = pruned("products", 0.9)
    x = torch.randn(64, *shape)
    whole, half = (runtime.compile(network, x, always=True, budget=0, storage=s) for s in ("f32", "bf16"))
    sizes = [sum(p.bytes for p in c.runners[0].programs.values()) for c in (whole, half)]
    assert sizes[1] < 0.85 * sizes[0]
    with torch.no_grad():
        apart = (half(x) - network(x)).abs().max() / network(x).abs().max()
    assert half.error == pytest.approx(float(apart))
    assert 0 < half.error < 2**-8
    assert f"{half.error:.1e}" in half.explain()
    assert whole.error == 0


def test_an_unknown_storage_is_refused():
    network, shape = pruned("products", 0.5)
    with pytest.raises(SecateurError, match=r"storage 'bf1'.*bf16"):
        runtime.compile(network, torch.randn(2, *shape), storage="bf1")
