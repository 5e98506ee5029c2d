"""Convolutional networks: kernels and twins against torch in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import diagonal, sweep
from torch import nn

from secateur import runtime
from secateur.runtime import reference
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import runner
from secateur.runtime.frontend.capture import capture
from secateur.runtime.schedule.build import build, widths

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _seeded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.n, self.m = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.c, self.d = nn.Conv2d(6, 4, 1, stride=2), nn.Conv2d(6, 5, 3, stride=2, padding=1)
        self.end = nn.Linear(9, 3)

    def forward(self, x):
        x = torch.relu(self.n(self.a(x)))
        x = torch.relu(self.m(self.b(x)) + x)
        x = torch.cat([torch.sigmoid(self.c(x)), self.d(x)], 1)
        return self.end(x.mean((2, 3)))


def nets():
    return {
        "plain": (nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(45, 4)),
                  (2, 8, 8)),
        "padded": (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU6(),
                                 nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 3, 3, padding=1), nn.Flatten(),
                                 nn.Linear(75, 4)), (1, 10, 9)),
        "strange": (nn.Sequential(nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2),
                                  nn.LeakyReLU(0.1), nn.AvgPool2d(3, 2, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6),
                                  nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)), (4, 9, 13)),
        "line": (nn.Sequential(nn.Conv1d(3, 5, 4, stride=2, padding=3), nn.GELU(), nn.Conv1d(5, 2, 3, dilation=2)),
                 (3, 21)),
        "residual": (Residual(), (3, 6, 6)),
        "wide": (nn.Sequential(nn.Conv2d(40, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9), nn.SiLU()), (40, 5, 29)),
    }


def prune(net, sparsity):
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            module.weight.data[torch.rand_like(module.weight) < sparsity] = 0
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize(("name", "sparsity", "isa"), diagonal(sorted(nets()), [0.3, 0.85], isas.available() or [""]))
def test_networks_equal_float64(name, sparsity, isa):
    net, shape = nets()[name]
    net = prune(net, sparsity)
    fast = runtime.compile(net, torch.randn(2, *shape), isa=isa, always=True, budget=0)
    assert "1 compiled segments" in fast.explain(), fast.explain()
    assert "torch:" not in fast.explain(), fast.explain()
    for batch in (1, 9, 17, 40):
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            wanted, got, exact = net(x), fast(x), net.double()(x.double())
        net.float()
        own = (wanted - exact).abs().max()
        assert (got - exact).abs().max() <= 4 * own + 1e-6 * exact.abs().max()


@pytest.mark.parametrize("name", sweep(["padded", "strange", "residual", "line"], {"strange", "line"}.__contains__))
def test_twins_agree(name):
    net, shape = nets()[name]
    net = prune(net, 0.6)
    captured = capture(net, (torch.randn(2, *shape),))
    (segment,) = captured.segments
    isa = isas.pick()
    for width in widths(isa, segment):
        for pick in (0, -1):
            program = build(segment, width, isa, lambda op, options, k=pick: options[k], parts=2)
            x = torch.randn(3, *shape).numpy()
            out = (3, *segment.outputs[0].shape)
            fast, twin = np.zeros(out, np.float32), np.zeros(out, np.float32)
            assert not runner.run(program, [x.ctypes.data, fast.ctypes.data], 0, 3, 1, False)
            assert not reference.run(program, [x, twin], 3)
            np.testing.assert_allclose(fast, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_come_out_as_torch_has_them(bad):
    net, shape = nets()["padded"]
    net = prune(net, 0.8)
    x = torch.randn(5, *shape)
    x[1, 0, 4, 4] = bad
    fast = runtime.compile(net, x, always=True, budget=0)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), equal_nan=True)


def test_threads_share_the_rows():
    net, shape = nets()["residual"]
    net = prune(net, 0.8)
    torch.set_num_threads(2)
    x = torch.randn(3, *shape)
    fast = runtime.compile(net, x, always=True, budget=0)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
        y = torch.randn(70, *shape)
        torch.testing.assert_close(fast(y), net(y), rtol=1e-4, atol=1e-5)
    torch.set_num_threads(1)


def test_what_no_kernel_takes_is_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, dilation=2), nn.Unflatten(1, (1, 2)), nn.Conv3d(1, 2, 2))
    text = runtime.compile(prune(net, 0.5), torch.randn(2, 1, 8, 8), budget=0).explain()
    assert "it is dilated" in text
    assert "over three axes" in text
