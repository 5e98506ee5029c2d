"""What the tests of distillation share."""

import copy

import torch
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.recovery.pipeline import recover


def error(net, made, x):
    with torch.no_grad():
        whole, small = (one(x)[0] if isinstance(one(x), tuple) else one(x) for one in (net.eval(), made.eval()))
    return float((whole - small).norm() / whole.norm())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).eval(), torch.randn(512, 8)


def recovered(net, x, item, sparsity=0.8):
    """The result of a recovery of the plain cut, and the plain cut."""
    plan = sc.plan(net, sparsity)
    plain = sc.apply(net, plan)
    return recover(net, copy.deepcopy(plain), plan, item, calibration(x)), plain


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
