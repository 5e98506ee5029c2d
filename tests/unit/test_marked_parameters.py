"""What a network's code writes on its parameters for its optimizer is there after a cut."""

import warnings

import pytest
import torch
from torch import nn

import secateur as sc

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


class Marked(nn.Module):
    """Marks as state space models and trainers write them; ``written`` puts a size into the code."""

    def __init__(self, written=False):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.out, self.written = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 3), written
        self.one.weight._no_weight_decay = True
        self.two.bias._optim = {"lr": 0.001, "names": ["a", None]}
        self.out.weight.main_grad = torch.zeros(3, 12)

    def forward(self, x):
        hidden = torch.relu(self.one(x))
        return self.out(torch.relu(self.two(hidden.view(-1, 3, 4).flatten(1) if self.written else hidden)))


WAYS = {"weights": {}, "weights, recovered": {"data": X}, "neurons": {"granularity": "neuron", "example": X},
        "neurons, recovered": {"granularity": "neuron", "data": X}}


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_marks_stay(way, written):
    net = Marked(written)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = sc.prune(net, 0.5, **WAYS[way])
    found = {name.removeprefix("body."): p for name, p in small.named_parameters()}
    assert found["one.weight"]._no_weight_decay is True
    assert found["two.bias"]._optim == {"lr": 0.001, "names": ["a", None]}
    assert found["two.bias"]._optim is not net.two.bias._optim
    assert not vars(found["out.weight"]), "a gradient of the old shape is no mark"
    assert not vars(found["out.bias"])
