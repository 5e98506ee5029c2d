"""Looking, planning and cutting leave a network as it was, to the last bit, and hand out no traces of their own."""

from __future__ import annotations

import copy
import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import secateur as sc
from secateur.core.module_state import untouched

X = torch.rand(2, 8)
NEURONS = {"granularity": "neuron", "example": X}


class Counting(nn.Module):
    """Writes whatever a network can write into itself: buffers, numbers, lists, dicts, a cache, random numbers."""

    def __init__(self):
        super().__init__()
        self.a, self.bn, self.b = nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.calls, self.seen, self.last, self.sums = 0, [], {}, None
        self.recent, self.inner, self.array = deque(maxlen=2), [nn.Dropout(), {"deep": [1]}], np.zeros(2)

    def forward(self, x):
        self.count += 1
        self.calls += 1
        self.seen.append(self.calls)
        self.recent.append(self.calls)
        self.last["x"] = x
        self.inner[1]["deep"].append(2)
        self.array += 1
        if self.sums is None:
            self.sums = self.b.weight.detach().sum(1)
        return self.b(torch.relu(self.bn(self.a(x)))) + self.sums + 0 * torch.rand(())


def state(net):
    """All that a network holds, copied, with the random numbers' state."""
    attributes = {n: {k: copy.deepcopy(v) for k, v in vars(m).items() if not k.startswith("_")}
                  for n, m in net.named_modules()}
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    return repr(attributes), tensors, torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()


def assert_same(one, other):
    assert one[0] == other[0]
    assert all(torch.equal(v, other[1][k]) for k, v in one[1].items())
    assert torch.equal(one[2], other[2])
    assert one[3:] == other[3:]


@pytest.mark.parametrize("mode", [True, False])
def test_every_call_leaves_the_network_and_the_random_numbers_alone(mode):
    net = Counting().train(mode)
    net.bn.eval()
    before = state(net)
    sc.targets(net, X)
    assert_same(before, state(net))
    plan = sc.plan(net, 0.5, **NEURONS)
    assert_same(before, state(net))
    small = sc.apply(net, plan)
    assert_same(before, state(net))
    sc.dry_run(net, plan, X)
    assert_same(before, state(net))
    sc.prune(net, 0.5, **NEURONS)
    assert_same(before, state(net))
    assert small.a.weight.shape == (6, 8)
    assert (small.count, small.calls, small.seen, small.last, small.sums) == (0, 0, [], {}, None)
    assert [m.training for m in small.modules()] == [m.training for m in net.modules()]


def test_what_had_been_counted_before_goes_along():
    net = Counting().eval()
    net(X)
    net.sums = None
    small = sc.prune(net, 0.5, **NEURONS)
    assert (small.count, small.calls, small.seen) == (1, 1, [1])


def test_a_cache_is_computed_anew_from_what_stays():
    net = Counting().eval()
    small = sc.prune(net, 0.5, **NEURONS)
    small(X)
    assert torch.equal(small.sums, small.b.weight.sum(1))


def test_a_refusal_leaves_the_network_alone():
    net, other = Counting(), torch.rand(2, 7)
    before = state(net)
    for call in (lambda: sc.targets(net, other), lambda: sc.plan(net, 2, **NEURONS),
                 lambda: sc.plan(net, 0.5, granularity="neuron", example=other),
                 lambda: sc.dry_run(net, sc.plan(net, 0.5, **NEURONS), other)):
        with pytest.raises(sc.SecateurError):
            call()
        assert_same(before, state(net))


class Renormed(nn.Module):
    """Puts other memory under a parameter at every call, as layers with a bound on their norm do."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x):
        if not torch.compiler.is_exporting():
            self.a.weight.data = torch.renorm(self.a.weight.data, 2, 0, 0.1)
        return self.b(torch.relu(self.a(x)))


def test_other_memory_under_a_parameter_is_put_back():
    net = Renormed()
    before = net.a.weight.clone()
    with untouched(net):
        net(X)
        assert not torch.equal(net.a.weight, before)
    assert torch.equal(net.a.weight, before)


def test_a_network_that_makes_parameters_at_its_first_call_is_refused():
    class Late(nn.Module):
        def forward(self, x):
            if not hasattr(self, "a"):
                self.a = nn.Linear(8, 4)
            return self.a(x)

    net = Late()
    with pytest.raises(sc.SecateurError, match=r"creates its parameter 'a\.weight' in its first call"):
        sc.targets(net, X)
    assert not hasattr(net, "a")


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = parametrizations.spectral_norm(nn.Linear(8, 12)), nn.Linear(12, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


def test_spectral_norm_in_train_mode_is_cut_as_in_evaluation(tmp_path):
    net = Spectral()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    small = sc.prune(net, 0.5, **NEURONS)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert small.training
    assert small.a.training
    other = sc.prune(copy.deepcopy(net).eval(), 0.5, **NEURONS)
    assert torch.equal(copy.deepcopy(small).eval()(X), other(X))
    again = sc.load(sc.save(small, tmp_path / "s.safetensors"), Spectral)
    assert again.training
    assert torch.equal(again.eval()(X), small.eval()(X))
