"""The choice of each layer: dense in torch or on a kernel, measured or by the model; and the account of it."""

from __future__ import annotations

import itertools
import os
from functools import partial

import pytest
import torch
from torch import nn

from secateur import runtime
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import layers, segment
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.schedule import choose
from secateur.runtime.schedule.clock import Clock
from secateur.runtime.schedule.mixed import dense_layers, split
from secateur.runtime.schedule.tile_schedule import TileSchedule

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _seeded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def prune(net, sparsity):
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            module.weight.data[torch.rand_like(module.weight) < sparsity] = 0
    return net.eval()


class Forked(nn.Module):
    """Two branches that meet, a norm, a change of shape."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 12)
        self.norm, self.end = nn.LayerNorm(8), nn.Linear(12, 3)

    def forward(self, x):
        h = self.norm(torch.relu(self.a(x)) + torch.tanh(self.b(x)))
        k = nn.functional.gelu(self.c(h))
        return self.end(k.unflatten(1, (3, 4)).flatten(1)), h


def nets():
    return {
        "planes": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, groups=2), nn.SiLU(),
                                 nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 5), nn.ReLU6(), nn.Linear(5, 3)),
                   (2, 9, 9)),
        "line": (nn.Sequential(nn.Conv1d(3, 5, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv1d(5, 2, 3, dilation=2)),
                 (3, 11)),
        "forked": (Forked(), (6,)),
    }


@pytest.mark.parametrize("name", sorted(nets()))
def test_any_layers_may_be_dense(name):
    net, shape = nets()[name]
    net = prune(net, 0.6)
    fast = runtime.compile(net, torch.randn(2, *shape), always=True, budget=0)
    (runner,) = fast.runners
    places = [k for k, op in enumerate(runner.segment.ops) if op.weight is not None]
    for batch, dense in itertools.product((1, 5), [c for n in (1, 2, len(places))
                                                   for c in itertools.combinations(places, n)]):
        chunks = runner.schedules.get((batch, 1), runner.estimate(batch)).chunks
        runner.schedules[batch, 1] = TileSchedule(chunks, dense=dense)
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
            x.view(-1)[3] = float("nan")
            torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5, equal_nan=True)


def test_tokens_with_a_dense_layer():
    net = prune(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)), 0.5)
    fast = runtime.compile(net, torch.randn(2, 5, 8), always=True, budget=0)
    (runner,) = fast.runners
    x = torch.randn(3, 4, 8)
    runner.schedules[12, 1] = TileSchedule(runner.estimate(12).chunks, dense=(1,))
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)


def chain(count):
    values = [Value(k, (10,)) for k in range(count + 1)]
    ops = tuple(Op("linear", str(k), (values[k],), values[k + 1]) for k in range(count))
    return Segment(values[:1], ops, values[-1:])


def test_what_pays_hand_solved():
    assert dense_layers(chain(3), {0: 5, 1: 5, 2: 5}, {0: 9, 1: 1, 2: 9}, 0, 0.1) == (1,)
    assert dense_layers(chain(3), {0: 5, 1: 5, 2: 5}, {0: 9, 1: 1, 2: 9}, 0.21, 0) == ()
    assert dense_layers(chain(3), {0: 5, 1: 5, 2: 5}, {0: 1, 1: 1, 2: 1}, 0, 1) == (0, 1, 2)
    assert dense_layers(chain(2), {0: 5, 1: 5}, {0: float("inf"), 1: float("inf")}, 0, 0) == ()


def test_pieces_are_in_order_and_few():
    whole = chain(4)
    names = [[op.name for op in p.ops] if isinstance(p, Segment) else p.name for p in split(whole, [1])]
    assert names == [["0"], "1", ["2", "3"]]
    assert [p.inputs[0].id for p in split(whole, [1])] == [0, 1, 2]


def test_the_model_keeps_sparse_layers_and_gives_full_ones_to_torch():
    net = nn.Sequential(nn.Linear(400, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 600))
    for index in (0, 4):
        prune(net[index], 0.95)
        net[index].weight.data[torch.rand_like(net[index].weight) < 0.95] = 0
    fast = runtime.compile(net.eval(), torch.randn(64, 400), budget=0)
    (runner,) = fast.runners
    assert runner.schedules[64, 1].dense == (1,)
    kernels = {row.node: row.kernel for row in fast.rows()}
    assert kernels["2"] == "torch, dense"
    assert "columns" in kernels["0"]
    x = torch.randn(64, 400)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    assert runtime.compile(prune(nn.Linear(64, 64), 0.1), torch.randn(16, 64), budget=0).rows()[0].width == 0


def test_measured_choices_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    # Each call takes a tenth of a millisecond on a quiet machine: what was unsteady is measured again.
    monkeypatch.setattr(segment, "Clock", partial(Clock, timer=itertools.count(0, 1e-4).__next__))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    net = prune(nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 30)), 0.8)
    x = torch.randn(20, 40)
    first = runtime.compile(net, x, budget=0.5).runners[0].schedules[20, 1]

    def never(*arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(layers, "measure_costs", never)
    again = runtime.compile(net, x, budget=0.5).runners[0].schedules[20, 1]
    assert again == first
    assert first.seconds is not None


def test_near_counts_of_rows_are_not_measured_again(monkeypatch, tmp_path):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    net = prune(nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 30)), 0.8)
    fast = runtime.compile(net, torch.randn(60, 40), budget=0.5)
    real, calls = layers.measure_costs, []
    monkeypatch.setattr(layers, "measure_costs", lambda *a: calls.append(a[2]) or real(*a))
    for rows in (61, 50, 75, 48):
        x = torch.randn(rows, 40)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    assert not calls
    fast(torch.randn(10, 40))
    fast(torch.randn(200, 40))
    assert calls == [(10,), (200,)]


def test_segments_share_the_budget():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(30, 30), nn.Linear(30, 10)

        def forward(self, x):
            return self.b(torch.cumsum(self.a(x), 1))

    fast = runtime.compile(prune(Cut(), 0.8), torch.randn(4, 30), budget=0.4)
    assert [runner.budget for runner in fast.runners] == pytest.approx([0.3, 0.1])


def test_a_measured_mixture_wins_where_it_is_faster(monkeypatch, tmp_path):

    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    monkeypatch.setattr(layers, "measure_costs", lambda *_: ({}, (1,)))
    monkeypatch.setattr(choose.Clock, "contest", lambda clock, *calls, **_: (2.0, 1.0, 3.0)[:len(calls)])
    net = prune(nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 30)), 0.8)
    x = torch.randn(20, 40)
    fast = runtime.compile(net, x, budget=0.5)
    assert fast.runners[0].schedules[20, 1].dense == (1,)
    assert "1 layers dense in torch" in fast.explain()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)


def test_rows_say_what_explain_says():
    net = prune(nn.Sequential(nn.Linear(40, 50), nn.LayerNorm(50), nn.Linear(50, 30)), 0.9)
    fast = runtime.compile(net, torch.randn(20, 40), always=True, budget=0.5)
    fast(torch.randn(1, 40))
    table = fast.rows()
    assert {(row.node, row.kind) for row in table} == {("0", "linear"), ("1", "norm"), ("2", "linear")}
    for rows in (1, 20):
        widths = {row.width for row in table if row.rows == rows}
        for width in widths:
            shares = [row.share for row in table if (row.rows, row.width) == (rows, width)]
            assert sum(shares) == pytest.approx(1)
    refused = {row.rows: dict(row.refused) for row in table if row.node == "0"}
    assert refused[20]["gather"].startswith("it takes one row")
    assert refused[20]["grouped columns"].startswith("sparsity 0.9")
    assert "torch, dense" in refused[20]
    assert refused[1]["convolution"] == "it is a product"
    text = fast.explain()
    assert all(reason in text for reasons in refused.values() for reason in reasons.values())
    assert all(f"{row.bytes} bytes of {row.dense_bytes} dense" in text for row in table if row.bytes)


def test_a_contest_ends_by_rounds_seconds_or_budget():
    calls = []
    times = choose.Clock(60).contest(lambda: calls.append("a"), lambda: calls.append("b"), rounds=4)
    assert len(times) == 2 and min(times) >= 0 and calls == ["a", "b"] * 5  # the first round is not counted
    calls.clear()
    choose.Clock(60).contest(lambda: calls.append("a"), min_seconds=0.0, rounds=9)
    assert len(calls) == 4
    calls.clear()
    clock = choose.Clock(0)
    clock.contest(lambda: calls.append("a"))
    assert len(calls) == 2 and clock.spent > 0 and not clock.left


@pytest.mark.parametrize("act", [nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.SiLU])
def test_activations_in_place_run_on_kernels(act):
    net = prune(nn.Sequential(nn.Linear(8, 8), act(inplace=True), nn.Linear(8, 4)), 0.5)
    x = torch.randn(5, 8)
    fast = runtime.compile(net, x, always=True, budget=0)
    assert not fast.captured.refused
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
