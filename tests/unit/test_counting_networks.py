"""Networks whose code keeps something of its calls: what is made of them does likewise, or is refused in one line."""

import copy
import warnings

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.graph.example import changes_by_call

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Counting(nn.Module):
    """Its outputs depend on how often it was called; ``written`` puts a size into the code."""

    def __init__(self, kind, written=False):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.out, self.kind, self.written = nn.Linear(8, 12), nn.Linear(12, 3), kind, written
        self.calls, self.seen, self.kept = 0, [], {"factor": 1.0}
        self.register_buffer("count", torch.tensor(0.0))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        hidden = torch.relu(self.one(x))
        y = self.out(hidden.view(-1, 3, 4).flatten(1) if self.written else hidden)
        return y * self.factor(y)

    def factor(self, y):
        if self.kind == "number":
            self.calls += 1
            return self.calls
        if self.kind == "list":
            self.seen.append(1)
            return len(self.seen)
        if self.kind == "dictionary":
            self.kept["factor"] *= 0.5
            return self.kept["factor"]
        if self.kind == "buffer":
            self.count += 1
            return self.count
        self.mean.mul_(0.5).add_(y.mean(0).detach())
        return self.mean


NUMBERS, BUFFERS = ("number", "list", "dictionary"), ("buffer", "average")


def calls(net, count=3):
    net = copy.deepcopy(net)
    with torch.no_grad():
        return [net(X) for _ in range(count)]


def close(got, want):
    return all(torch.allclose(g, w, atol=1e-5) for g, w in zip(got, want, strict=True))


def cut(net):
    """A cut network, and the original without the contribution of the removed units."""
    plan = sc.plan(net, 0.5, granularity="neuron", example=X)
    gone = copy.deepcopy(net)
    for one in plan.cuts:
        for member in one.group.members:
            if member.tensor == "out.weight":
                gone.out.weight.data[:, member.positions()[~one.keep].flatten()] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sc.apply(net, plan), gone


@pytest.mark.parametrize("kind", [*NUMBERS, *BUFFERS])
def test_its_own_code_goes_on_counting_after_the_cut(kind):
    small, gone = cut(Counting(kind).eval())
    assert type(small) is Counting and small.one.out_features == 6
    assert close(calls(small), calls(gone))


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_cut_graph_that_cannot_count_is_refused(kind):
    with pytest.raises(sc.SecateurError, match="its code counts its calls") as caught:
        cut(Counting(kind, written=True).eval())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_cut_graph_that_counts_in_a_buffer(kind):
    small, gone = cut(Counting(kind, written=True).eval())
    assert isinstance(small, ExportedNetwork)
    assert close(calls(small), calls(gone))


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_file_keeps_no_graph_that_cannot_count(kind, tmp_path):
    with pytest.raises(sc.SecateurError, match="its outputs differ from the network"):
        sc.save(Counting(kind), tmp_path / "net.safetensors", example=X)


@pytest.mark.parametrize("kind", BUFFERS)
def test_saving_leaves_the_buffers_as_they_are_and_the_graph_counts_on(kind, tmp_path):
    net = Counting(kind).eval()
    want = calls(net)
    path = sc.save(net, tmp_path / "net.safetensors", example=X)
    assert float(net.count) == 0 and float(net.mean.abs().max()) == 0
    assert close(calls(sc.load(path, trusted=True)), want)


@pytest.mark.parametrize("kind", [*NUMBERS, *BUFFERS])
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_counts_on(kind):
    """Torch runs its code; our kernels refuse it."""
    net = Counting(kind).eval()
    compiled = sc.compile(net, X)
    with torch.no_grad():
        assert close([compiled(X) for _ in range(3)], calls(net))
    with pytest.raises(sc.SecateurError, match="at every call"):
        sc.compile(net, X, engine="kernels")


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("kind", [*NUMBERS, *BUFFERS])
def test_a_file_of_another_tool_that_cannot_count_is_not_written(kind, to, tmp_path):
    net = Counting(kind).eval()
    with pytest.raises(sc.SecateurError, match="returns different outputs at every call"):
        sc.export(net, tmp_path / f"net.{to}", X, to)
    assert not list(tmp_path.iterdir())
    assert (net.calls, net.seen, net.kept, float(net.count)) == (0, [], {"factor": 1.0}, 0)


def test_networks_that_draw_random_numbers_or_make_a_table_once_change_nothing_by_call():
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.one = None, nn.Linear(8, 3)

        def forward(self, x):
            first = self.table is None
            self.table = torch.ones(3) if first else self.table
            return self.one(x) * self.table * (2 if first else 1) + torch.rand(3)

    assert not changes_by_call(Drawing(), (X,), {})
    assert changes_by_call(Counting("number"), (X,), {})
