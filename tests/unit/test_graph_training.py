"""Sizes that only training code reads: found by running copies in train mode, or the graph is returned."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.errors import CutGraphWarning
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.pruning.apply import carry_out


class Noisy(nn.Module):
    """Noise on the hidden units while training; ``kind`` says where the code takes their number from."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.hidden, self.calls, self.k = kind, 10, 0, 10
        self.one, self.norm, self.two = nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Linear(10, 3)

    def forward(self, x):
        self.calls += 1
        h = self.norm(self.one(x))
        if self.training:
            size = {"attribute": self.hidden, "odd name": self.k, "written": 10, "module": self.one.out_features,
                    "shape": h.shape[1]}[self.kind]
            h = F.dropout(h + torch.randn(len(x), size), 0.5)
        return self.two(torch.relu(h))


@pytest.mark.parametrize("kind", ["attribute", "odd name", "module", "shape"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_cut_network_trains_where_the_network_does(kind, batch):
    torch.manual_seed(0)
    net, x = Noisy(kind).eval(), torch.randn(batch, 6)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    state = torch.get_rng_state()
    small = sc.apply(net, plan)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert type(small) is Noisy and not small.training and not small.norm.num_batches_tracked
    assert (small.k == 5) == (kind == "odd name")
    assert small.hidden == {"attribute": 5, "odd name": 5}.get(kind, 10)
    optimizer = torch.optim.SGD(small.train().parameters(), lr=0.1)
    small(torch.randn(4, 6)).square().mean().backward()
    optimizer.step()
    assert small.one.weight.shape == (5, 6) and small.norm.num_batches_tracked == 1


def test_code_that_only_trains_with_a_size_written_into_it_gives_the_graph_and_says_so():
    torch.manual_seed(0)
    net, x = Noisy("written").eval(), torch.randn(4, 6)
    with pytest.warns(CutGraphWarning, match="its cut graph is returned instead, which always runs as in evaluation "
                                             "mode"):
        small = sc.prune(net.train(), 0.5, granularity="neuron", example=x)
    assert isinstance(small, ExportedNetwork)
    assert not small.training
    (note,) = carry_out(net, sc.plan(net, 0.5, granularity="neuron", example=x)).notes
    assert "its cut graph is returned instead" in note
    assert "train mode of the cut code fails: RuntimeError: The size of tensor a (5) must match" in note
    with pytest.warns(CutGraphWarning, match="no dropout, and norms use their stored statistics"):
        small.train()
    small(torch.randn(2, 6)).sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CutGraphWarning)
        small.eval()
        sc.prune(small, 0.5, granularity="neuron", example=x)


def test_a_network_that_does_not_train_at_all_is_cut_as_it_is():
    class Only(nn.Sequential):
        def forward(self, x):
            assert not self.training
            return super().forward(x)

    net = Only(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    assert type(sc.prune(net, 0.5, granularity="neuron", example=torch.randn(2, 6))) is Only
