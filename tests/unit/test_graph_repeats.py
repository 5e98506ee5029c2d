"""Cut graphs of code that repeats or splits by the batch: they take other batches, and lengths, as the network does."""

import copy
import warnings

import pytest
import torch
from support import every
from torch import nn

import secateur as sc
from secateur.core.errors import CutGraphWarning
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.graph.cut.graphs import ONE_SHAPE


class Pooled(nn.Module):
    """Learned queries for each sample attend to it; heads and widths are written into the code."""

    def __init__(self, queries):
        super().__init__()
        self.make = queries
        self.query, self.token = nn.Parameter(torch.randn(1, 3, 24)), nn.Parameter(torch.randn(3, 24))
        self.wide, self.q, self.kv = nn.Parameter(torch.randn(24)), nn.Linear(24, 24), nn.Linear(8, 48)
        self.proj, self.out = nn.Linear(24, 24), nn.Linear(24, 5)

    def forward(self, x):
        b, n, _ = x.shape
        k, v = self.kv(x).view(b, n, 2, 4, 6).permute(2, 0, 3, 1, 4)
        q = self.q(self.make(self, x)).view(b, -1, 4, 6).transpose(1, 2)
        y = torch.softmax(q @ k.transpose(-1, -2) / 6**0.5, -1) @ v
        return self.out(self.proj(y.transpose(1, 2).reshape(b, -1, 24)))


QUERIES = {
    "repeat": lambda net, x: net.query.repeat(x.shape[0], 1, 1),
    "repeat a new axis": lambda net, x: net.token.repeat(x.shape[0], 1, 1),
    "repeat two axes": lambda net, x: net.query.repeat(x.shape[0], 2, 1),
    "repeat by batch and length": lambda net, x: net.query.repeat(x.shape[0], x.shape[1], 1),
    "repeat by twice the batch": lambda net, x: net.token.repeat(2 * x.shape[0], 1, 1).view(2, x.shape[0], 3, 24)[0],
    "repeat by len": lambda net, x: net.query.repeat(len(x), 1, 1),
    "repeat what is cut": lambda net, x: net.wide.view(1, 1, 24).repeat(x.shape[0], 3, 1),
    "repeat flat": lambda net, x: net.wide.repeat(x.shape[0], 3).view(x.shape[0], 3, 24),
    "tile": lambda net, x: torch.tile(net.query, (x.size(0), 1, 1)),
    "tile fewer axes": lambda net, x: net.query.expand(x.shape[0], 3, 24).tile(1, 1),
    "repeat_interleave": lambda net, x: net.query.repeat_interleave(x.shape[0], 0),
    "repeat_interleave by len": lambda net, x: torch.repeat_interleave(net.query, len(x), dim=-3),
    "expand": lambda net, x: net.query.expand(x.shape[0], -1, -1),
    "expand by len": lambda net, x: net.query.expand(len(x), -1, -1),
    "split by a size": lambda net, x: twice(net, x).split(x.shape[0])[0],
    "split by sizes": lambda net, x: twice(net, x).split([x.shape[0], len(x)])[1],
    "split in two": lambda net, x: torch.tensor_split(twice(net, x), 2)[1],
    "split at a place": lambda net, x: torch.tensor_split(twice(net, x), [x.shape[0]])[1],
    "unflatten before other axes": lambda net, x: twice(net, x).unflatten(0, (2, x.shape[0]))[1],
}


def twice(net, x):
    """Queries for the batch, and as many others."""
    queries = net.query.expand(x.shape[0], 3, 24)
    return torch.cat([queries, 2 * queries])


def zeroed(net, plan):
    """The original with the removed units at zero in every parameter."""
    gone = copy.deepcopy(net)
    with torch.no_grad():
        for one in plan.cuts:
            for m in one.group.members:
                gone.get_parameter(m.tensor).index_fill_(m.axis, m.positions()[~one.keep].flatten(), 0)
    return gone


@pytest.mark.parametrize("name", every(3, QUERIES))
def test_other_batches_and_lengths(name):
    torch.manual_seed(0)
    net = Pooled(QUERIES[name]).eval()
    plan = sc.plan(net, 0.5, granularity="neuron", example=torch.randn(2, 7, 8))
    with pytest.warns(CutGraphWarning) as told:
        small = sc.apply(net, plan)
    gone = zeroed(net, plan)
    assert isinstance(small, ExportedNetwork)
    assert plan.removed
    assert not any(ONE_SHAPE in str(w.message) for w in told)
    with torch.no_grad():
        for batch, length in ((2, 7), (1, 7), (5, 7), (3, 4)):
            x = torch.randn(batch, length, 8)
            assert torch.allclose(small(x), gone(x), atol=1e-6)


class Grouped(nn.Module):
    """Keys and values that several heads share, repeated by numbers in the code, and by the batch."""

    def __init__(self):
        super().__init__()
        self.start, self.q, self.kv, self.out = nn.Parameter(torch.randn(1, 8)), nn.Linear(8, 24), nn.Linear(8, 24), (
            nn.Linear(24, 5))

    def forward(self, x):
        x = torch.cat([self.start.repeat(len(x), 1)[:, None], x], 1)
        b, n, _ = x.shape
        q = self.q(x).view(b, n, 4, 6).transpose(1, 2)
        k, v = (t.transpose(1, 2).repeat_interleave(2, 1) for t in self.kv(x).view(b, n, 2, 2, 6).unbind(2))
        y = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(y.transpose(1, 2).reshape(b, n, 24))


def test_copies_by_a_number_are_followed_beside_copies_by_the_batch():
    torch.manual_seed(0)
    net = Grouped().eval()
    plan = sc.plan(net, 0.5, granularity="neuron", example=torch.randn(2, 4, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutGraphWarning)
        small = sc.apply(net, plan)
    assert plan.removed
    gone = zeroed(net, plan)
    with torch.no_grad():
        for batch in (1, 2, 5):
            x = torch.randn(batch, 4, 8)
            assert torch.allclose(small(x), gone(x), atol=1e-6)
