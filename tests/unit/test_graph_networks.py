"""Every network of the small zoo: half of every group goes, the cut is proved, and what comes out is ordinary."""

from __future__ import annotations

import copy
import io

import networks
import pytest
import torch
from support import every
from torch import nn

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.pruning.apply import carry_out

AS_GRAPH = {"shape-arithmetic", "slices", "sizes-in-the-code", "views-of-views"}


def made(name: str) -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    model, example = networks.NETWORKS[name]()
    return model.eval(), example


def call(model: nn.Module, example: object) -> torch.Tensor:
    with torch.no_grad():
        return model(*example) if isinstance(example, tuple) else model(example)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", every(2, networks.NETWORKS))
def test_half_of_every_group_goes_and_the_cut_is_proved(name):
    model, example = made(name)
    before = copy.deepcopy(model.state_dict())
    plan = sc.plan(model, 0.5, granularity="neuron", example=example)
    removal = carry_out(model, plan)
    small = removal.network
    assert count(small) <= 0.75 * count(model)
    assert call(small, example).shape == call(model, example).shape
    assert isinstance(small, ExportedNetwork) == (name in AS_GRAPH), removal.notes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", every(2, ["residual", "lstm-both-ways", "grouped", "grouped-query-attention",
                                           "tied-embeddings", "torch-encoder", "sizes-in-the-code"]))
def test_a_cut_network_can_be_copied_saved_trained_and_cut_again(name):
    model, example = made(name)
    small = sc.apply(model, sc.plan(model, 0.4, granularity="neuron", example=example))
    twin = copy.deepcopy(small)
    buffer = io.BytesIO()
    torch.save(small.state_dict(), buffer)
    buffer.seek(0)
    twin.load_state_dict(torch.load(buffer))
    assert torch.equal(call(twin, example), call(small, example))
    small.train()
    small(*example if isinstance(example, tuple) else (example,)).sum().backward()
    assert all(p.grad is not None for p in small.parameters())
    again = sc.apply(small.eval(), sc.plan(small, 0.4, granularity="neuron", example=example))
    assert count(again) < count(small)


@pytest.mark.parametrize("name", ["residual", "attention", "rotary-attention", "lstm", "torch-encoder"])
def test_other_batch_sizes_work_after_the_cut(name):
    model, example = made(name)
    small = sc.apply(model, sc.plan(model, 0.5, granularity="neuron", example=example))
    one, two = call(small, example[:1]), call(small, torch.cat([example, example]))
    assert torch.allclose(one, two[:1], atol=1e-5)


def test_the_zoo_is_large_enough():
    assert len(networks.NETWORKS) >= 40


def test_the_cut_graph_takes_any_batch_where_the_network_does():
    model, example = made("slices")
    small = sc.apply(model, sc.plan(model, 0.5, granularity="neuron", example=example))
    assert isinstance(small, ExportedNetwork)
    assert torch.allclose(call(small, torch.cat([example] * 3))[:2], call(small, example), atol=1e-5)
    assert call(small, example[:1]).shape == (1, 5)


def test_a_size_that_happens_to_be_the_batch_is_not_taken_for_one():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width, self.samples = 8, 4
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.two(torch.relu(self.one(x)).view(-1, self.width))

    net, x = Named(), torch.randn(4, 6)
    removal = carry_out(net, sc.plan(net, 0.5, granularity="neuron", example=x))
    small = removal.network
    assert isinstance(small, Named)
    assert (small.width, small.samples) == (4, 4)
    assert removal.notes == ("width 8 -> 4",)
    assert small(torch.randn(9, 6)).shape == (9, 3)
