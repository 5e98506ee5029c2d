"""Layers that were built as constants stay whole unless a caller lets them go."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import secateur as sc

X = torch.randn(4, 1, 64, generator=torch.Generator().manual_seed(0))


def fourier():
    """Sines and cosines of 8 frequencies over windows of 16, fixed."""
    layer = nn.Conv1d(1, 16, 16, stride=8, bias=False)
    turns = 2 * math.pi / 16 * torch.arange(8)[:, None] * torch.arange(16)
    layer.weight.data.copy_(torch.cat([turns.sin(), turns.cos()])[:, None])
    return layer.requires_grad_(False)


def speech():
    torch.manual_seed(0)
    return nn.Sequential(fourier(), nn.Conv1d(16, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.Flatten(), nn.Linear(24, 3))


def cut(model, granularity, **settings):
    plan = sc.plan(model, 0.5, granularity=granularity, example=X, **settings)
    return [c.name.removesuffix(".weight") for c in plan.cuts], plan.notes


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_a_frozen_layer_stays_and_the_notes_say_so(granularity):
    names, notes = cut(speech(), granularity)
    assert names == ["1", "3"]
    assert "frozen layers (requires_grad=False) stay whole: 0; skip=() prunes them too" in notes
    small = sc.prune(speech(), 0.5, granularity=granularity, example=X)
    assert torch.equal(small[0].weight, fourier().weight)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_only_an_empty_tuple_lets_it_go(granularity):
    assert cut(speech(), granularity, skip=["1"])[0] == ["3"]
    names, notes = cut(speech(), granularity, skip=())
    assert names[0] == "0"
    assert not [note for note in notes if "frozen" in note]


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_a_network_that_is_frozen_as_a_whole_is_cut(granularity):
    names, notes = cut(speech().requires_grad_(False), granularity)
    assert names == ["0", "1", "3"]
    assert not [note for note in notes if "frozen" in note]


def test_a_layer_with_anything_that_learns_is_cut():
    net = speech()
    net[1].weight.requires_grad_(False)
    assert cut(net, "weight")[0] == ["1", "3"]


class Basis(nn.Module):
    """A Fourier transform whose basis is a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("basis", fourier().weight.detach())

    def forward(self, x):
        return nn.functional.conv1d(x, self.basis, stride=8)


def as_buffer(layer):
    weight = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", weight)
    return layer


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
@pytest.mark.parametrize("make", [Basis, lambda: as_buffer(fourier())])
def test_weights_in_buffers_stay(make, granularity):
    net = speech()
    net[0] = make()
    assert cut(net, granularity)[0] == ["1", "3"]
    assert cut(net, "neuron", skip=())[0] == ["0", "1", "3"]


def test_a_buffer_that_is_added_to_a_layer_keeps_nothing():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("places", torch.randn(8, 1))

        def forward(self, x):
            return x + self.places

    net = speech()
    net[2] = Positions()
    assert cut(net.requires_grad_(True), "neuron")[0] == ["0", "1", "3"]


def test_where_nothing_is_left_the_error_says_so():
    net = speech().requires_grad_(False)
    net[5].requires_grad_(True)
    with pytest.raises(sc.SecateurError, match=r"nothing to cut.*frozen layers \(requires_grad=False\) stay whole: 0, "
                                               r"1, 3; "
                                               r"skip=\(\)"):
        sc.plan(net, 0.5, example=X)


def test_a_loop_that_freezes_a_layer_later_still_cuts_it():
    net = speech()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    pruner = sc.Pruner(net, sc.schedules.Linear(0.5, end=4, every=1), optimizer, example=X)
    net[1].requires_grad_(False)
    for _ in range(5):
        pruner.step()
    zeros = [int((net[i].weight == 0).sum()) for i in (0, 1, 3)]
    assert zeros[1:] == [net[i].weight.numel() // 2 for i in (1, 3)]
    assert torch.equal(net[0].weight, fourier().weight)
