"""Calls that stop at layers: one forward pass, each layer changed before the calls go on through it."""

import threading

import pytest
import torch
from torch import nn

from secateur.data.batch import as_batch
from secateur.recovery.paused import PausedCalls

BATCHES = [as_batch(torch.full((2, 1), float(i))) for i in range(3)]


class Times(nn.Module):
    """Multiplies, and counts its calls."""

    def __init__(self, by):
        super().__init__()
        self.by, self.calls = by, 0

    def forward(self, x):
        self.calls += 1
        return x * self.by


def net():
    return nn.Sequential(Times(2), Times(3), Times(5))


def values(read):
    return {number: float(x[0, 0]) for number, x in read.items()}


def test_later_layers_read_what_the_new_layers_gave():
    network = net()
    with PausedCalls(network, BATCHES, ["0", "2"]) as calls:
        assert values(calls.inputs("0")) == {0: 0, 1: 1, 2: 2} and calls.inputs("2") == {}
        calls.go_on("0", Times(10))
        assert values(calls.inputs("2")) == {0: 0, 1: 30, 2: 60}
        calls.go_on("2", network[2].layer)
    assert network[0].by == 10 and [m.calls for m in network] == [3, 3, 3]
    assert float(network(torch.ones(1))) == 150


def test_calls_that_are_left_in_the_middle_end_and_the_layers_are_back():
    network, before = net(), threading.active_count()
    own = list(network)

    def stop():
        with PausedCalls(network, BATCHES, ["0", "1", "2"]) as calls:
            calls.go_on("0", own[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(network) == own and threading.active_count() == before


def test_an_error_of_the_network_reaches_the_caller():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError(f"shape {tuple(x.shape)}")

    network = nn.Sequential(Times(2), Fails())
    with pytest.raises(Exception, match=r"shape \(2, 1\)"), PausedCalls(network, BATCHES, ["0"]) as calls:
        calls.go_on("0", network[0].layer)
    assert isinstance(network[0], Times)


class Picks(nn.Module):
    """Calls one of two layers, as its input says."""

    def __init__(self):
        super().__init__()
        self.a, self.b = Times(2), Times(3)

    def forward(self, x):
        return self.a(x) if x.sum() > 2 else self.b(x)


def test_a_layer_that_not_every_batch_reaches_sees_those_that_do():
    with PausedCalls(Picks(), BATCHES, ["a", "b"]) as calls:
        assert values(calls.inputs("a")) == {2: 2} and values(calls.inputs("b")) == {0: 0, 1: 1}


def test_the_network_is_run_in_evaluation_mode_and_keeps_its_modes():
    network = net().train()
    network[1].eval()
    seen = []
    network[2].register_forward_hook(lambda m, *_: seen.append((m.training, torch.is_grad_enabled())))
    with PausedCalls(network, BATCHES[:1], ["0"]) as calls:
        calls.go_on("0", network[0].layer)
    assert seen == [(False, False)] and [m.training for m in (network, *network)] == [True, True, False, True]
