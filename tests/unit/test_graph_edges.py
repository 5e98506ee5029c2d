"""Edges of neuron pruning: what a cut graph takes, proofs that prove nothing, state of the user's own objects."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur import graph


class Written(nn.Module):
    """Sizes written into the code, two inputs, and settings."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, a, b, flip=False, scale=1.0):
        a, b = self.one(a).view(len(a), -1, 3, 4), self.two(b).view(len(b), -1, 3, 4)
        hidden = torch.tanh(a * scale) * (b if not flip else -b)
        return self.out(hidden.view(len(a), -1, 12)).sum(1)


def cut_graph(*example):
    torch.manual_seed(0)
    small = sc.prune(Written().eval(), 0.5, granularity="neuron", example=example)
    assert type(small).__name__ == "ExportedNetwork"
    return small


def test_a_cut_graph_binds_inputs_by_name():
    a, b = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    small = cut_graph(a, b)
    assert torch.equal(small(b=b, a=a), small(a, b))
    assert not torch.equal(small(b, a), small(a, b))


def test_a_cut_graph_refuses_what_it_was_not_traced_for():
    a, b = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    small = cut_graph(a, b, True, 2.0)
    for inputs in ((a, b, False, 2.0), (a, b, True, 3.0)):
        with pytest.raises(sc.SecateurError, match="of the cut graph: got"):
            small(*inputs)
    with pytest.raises(sc.SecateurError, match=r"got float32 \[2, 7, 6\], .*, allowed"):
        small(torch.randn(2, 7, 6), b, True, 2.0)
    with pytest.raises(sc.SecateurError, match="inputs of the cut graph"):
        small(a)
    with pytest.raises(sc.SecateurError, match="inputs of the cut graph"):
        small(a, b)


class Window(nn.Module):
    """A number of heads, and a window that has the same number."""

    def __init__(self):
        super().__init__()
        self.h, self.w = 4, 4
        self.qkv, self.o = nn.Linear(12, 48), nn.Linear(16, 3)

    def forward(self, x):
        x = x[:, -self.w:]
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.h, 4).permute(2, 0, 3, 1, 4)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, -1)).mean(1)


def test_an_unrelated_number_of_the_same_size_stays():
    torch.manual_seed(0)
    small = sc.prune(Window().eval(), 0.5, granularity="neuron", example=torch.randn(2, 2, 12))
    assert (small.h, small.w) == (2, 4)


class Blind(nn.Module):
    """The number of heads is a scale too, so setting it anew would change what is computed inside."""

    def __init__(self, end=lambda y: y):
        super().__init__()
        self.num_heads, self.end = 4, end
        self.q, self.o = nn.Linear(12, 16), nn.Linear(17, 3)
        nn.init.zeros_(self.o.weight[:, :16])

    def forward(self, x):
        y = self.q(x).view(len(x), self.num_heads, 4)
        return self.end(self.o(torch.cat([(y / self.num_heads).flatten(1), x[:, :1]], 1)))


def test_no_attribute_is_repaired_on_outputs_that_do_not_feel_it():
    torch.manual_seed(0)
    small = sc.prune(Blind().eval(), 0.5, granularity="neuron", example=torch.randn(4, 12))
    assert type(small).__name__ == "ExportedNetwork"
    assert small.body.o.weight.shape[1] == 9


@pytest.mark.parametrize("end", [lambda y: (y > 1e3).double(), lambda y: torch.relu(y - 1e6),
                                 lambda y: torch.softmax(y[:, :1], 1)])
def test_nothing_is_cut_where_the_outputs_feel_nothing(end):
    with pytest.raises(sc.SecateurError, match="q: the outputs do not depend on it for this example"):
        sc.plan(Blind(end).eval(), 0.5, granularity="neuron", example=torch.randn(4, 12))


class Gated(nn.Module):
    """A residual branch behind a gate, beside a part that has none."""

    def __init__(self, gate, scale):
        super().__init__()
        self.gate = gate
        self.enter, self.out = nn.Linear(6, 8), nn.Linear(12, 3)
        self.up, self.down, self.last = nn.Linear(8, 10), nn.Linear(10, 8), nn.Linear(8, 12)
        if isinstance(scale, nn.Parameter):
            self.scale = scale
        else:
            self.register_buffer("scale", scale)

    def forward(self, x):
        x = self.enter(x)
        branch = self.down(torch.relu(self.up(x)))
        return self.out(torch.relu(self.last(self.gate(x, branch, self.scale))))


CLOSED = {
    "a buffer": (lambda x, f, s: x + s * f, torch.zeros(())), "a vector": (lambda x, f, s: x + s * f, torch.zeros(1)),
    "a number": (lambda x, f, s: x + 0.0 * f, torch.zeros(1)), "lerp": (lambda x, f, s: torch.lerp(x, f, 0.0), None),
    "alpha": (lambda x, f, s: torch.add(x, f, alpha=0), None), "in place": (lambda x, f, s: x + f.mul_(0), None),
    "a choice": (lambda x, f, s: torch.where(s, f, x), torch.tensor(False)),
    "a threshold": (lambda x, f, s: x + torch.relu(f - 1e6), None),
    "a mask": (lambda x, f, s: x + f * (x > 1e6), None),
}
OPEN = {
    "a buffer": (lambda x, f, s: x + s * f, torch.ones(())), "a number": (lambda x, f, s: x + 0.1 * f, None),
    "a fresh gain": (lambda x, f, s: x + s * f, nn.Parameter(torch.zeros(()))),
    "a fresh vector": (lambda x, f, s: x + s * f, nn.Parameter(torch.zeros(8))),
    "a fresh gain of one": (lambda x, f, s: x + s * f, nn.Parameter(torch.zeros(1))),
    "in place through a view": (lambda x, f, s: (x.view(x.shape).mul_(f), x)[1], None),
    "the place of the largest": (lambda x, f, s: x * f.transpose(0, 1).argmax(1)[:, None].flatten()[:1], None),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_branch_behind_a_closed_gate_stays_and_the_rest_is_cut(name):
    torch.manual_seed(0)
    net, x = Gated(*CLOSED[name]).eval(), torch.randn(4, 6)
    reasons = {g.name: g.reason for g in sc.targets(net, x).groups}
    assert "the outputs do not depend on it for this example" in reasons["up"]
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert (small.up.out_features, small.last.out_features) == (10, 6)


@pytest.mark.parametrize("name", OPEN)
def test_a_branch_that_is_felt_is_cut(name):
    torch.manual_seed(0)
    net, x = Gated(*OPEN[name]).eval(), torch.randn(4, 6)
    assert next(g for g in sc.targets(net, x).groups if g.name == "up").cuttable
    assert sc.prune(net, 0.5, granularity="neuron", example=x).up.out_features == 5


def test_units_that_are_dead_do_not_make_their_layer_unfelt():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    x = torch.randn(4, 6)
    with torch.no_grad():
        net[0].bias[:4], net[2].weight[:, :2], net[2].weight[0] = -100, 0, 0
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert (small[0].out_features, small[2].out_features) == (4, 3)


def test_tracing_leaves_what_the_network_writes_as_it_was():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.words, self.one, self.two = nn.Embedding(9, 6, max_norm=0.1), nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            self.calls += 1
            return self.two(torch.relu(self.one(self.words(x))))

    net = Writes().eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    sc.targets(net, torch.arange(5))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def tied():
    net = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 9, bias=False))
    net[2].weight = net[0].weight
    return net


def step(net, optimizer, x):
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


def test_state_of_tied_weights_is_carried():
    net, x = tied(), torch.arange(9)
    optimizer = torch.optim.Adam(net.parameters())
    step(net, optimizer, x)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan)
    assert small[0].weight.shape == (9, 4)
    step(small, graph.carry_optimizer(optimizer, net, small, plan.cuts), x)


def test_state_that_cannot_be_cut_is_refused():
    net, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(4, 6)
    optimizer = torch.optim.Adafactor(net.parameters())
    step(net, optimizer, x)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    with pytest.raises(sc.SecateurError, match=r"keeps a state of shape .* build a new optimizer"):
        graph.carry_optimizer(optimizer, net, sc.apply(net, plan), plan.cuts)


@pytest.mark.parametrize(("change", "message"), [
    ({"skip": "10"}, "skip: got '10'"), ({"skip": 3}, "skip: got 3"), ({"skip": [0]}, r"skip: got \[0\]"),
    ({"example": torch.zeros(0, 6)}, "an empty tensor"), ({"example": torch.full((2, 6), float("nan"))}, "holds NaN")])
def test_bad_arguments_are_one_line(change, message):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(sc.SecateurError, match=message) as caught:
        sc.plan(net, 0.5, granularity="neuron", **{"example": torch.randn(2, 6), **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("net", [nn.Linear(4, 3, device="meta"), nn.LazyLinear(3), 3])
def test_networks_that_are_not_there_yet_are_one_line(net):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(net, 0.5, skip=())
    assert "\n" not in str(caught.value)


def test_rounding_that_leaves_a_layer_whole_is_noted():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    plan = sc.plan(net, 0.5, granularity=sc.Neuron(round_to=8), example=torch.randn(2, 6))
    assert not any(cut.removed for cut in plan.cuts)
    assert "nothing removed, because of round_to=8: all 8 are left" in plan.notes[0]
