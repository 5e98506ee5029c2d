"""Choices that are measured: one interrupted call changes none, and what was measured badly is measured again."""

from __future__ import annotations

import itertools
import json
import math
import os
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from secateur import runtime
from secateur.core import machine
from secateur.runtime.codegen import cache, isa
from secateur.runtime.execute import segment
from secateur.runtime.ops import Op, Value
from secateur.runtime.schedule.candidates import candidates
from secateur.runtime.schedule.choose import KernelChooser, KernelTimes
from secateur.runtime.schedule.clock import Clock, Conditions, Measured, spread, steadier
from secateur.runtime.schedule.tile_schedule import TileSchedule

needs_kernels = pytest.mark.skipif(not isa.available(), reason="no llvmlite, or no instruction set that it serves")


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(machine, "cores", lambda: 2)
    set_load(monkeypatch, 0.0)
    torch.set_num_threads(1)
    torch.manual_seed(0)


def set_load(monkeypatch, load):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)


class Hand:
    """A clock that the calls themselves move: each call takes its next number of seconds, the last for ever."""

    def __init__(self):
        self.now, self.calls = 0.0, 0

    def __call__(self):
        return self.now

    def call(self, *seconds):
        times = itertools.chain(seconds, itertools.repeat(seconds[-1]))

        def run():
            self.calls += 1
            self.now += next(times)
        return run


def test_the_median_of_turns_withstands_one_interruption():
    for turn in range(1, 10):
        hand = Hand()
        fast = hand.call(*[156.0] * turn, 8260.0, 156.0)
        clock = Clock(math.inf, timer=hand)
        assert clock.contest(fast, hand.call(300.0)) == (156.0, 300.0)
        assert clock.spread == 0


def test_a_call_that_was_slow_at_first_is_not_the_worse_for_it():
    hand = Hand()
    assert Clock(math.inf, timer=hand).contest(hand.call(9000.0, 156.0), rounds=3) == (156.0,)


def test_unsteady_times_are_taken_again_and_the_steadiest_count():
    hand = Hand()
    call = hand.call(1.0, 1.0, 9.0, 9.0, 1.0, 2.0, 2.0, 2.0, 2.0)
    clock = Clock(math.inf, again=2, timer=hand)
    assert clock.contest(call, rounds=3) == (2.0,)
    assert (hand.calls, clock.spread) == (8, 0.0)


def test_times_that_stay_unsteady_are_taken_a_bounded_number_of_times():
    hand = Hand()
    clock = Clock(math.inf, again=2, timer=hand)
    clock.contest(hand.call(*[1.0, 1.0, 5.0, 30.0] * 50), rounds=3)
    assert hand.calls == 3 * 4
    assert clock.spread > 1


def test_nothing_is_taken_again_once_the_budget_is_spent():
    hand = Hand()
    clock = Clock(20.0, again=2, timer=hand)
    clock.contest(hand.call(1.0, 1.0, 9.0, 9.0), rounds=3)
    assert hand.calls == 4
    assert not clock.left


def test_one_time_alone_is_never_steady():
    hand = Hand()
    clock = Clock(0.0, timer=hand)
    clock.contest(hand.call(1.0))
    assert (hand.calls, clock.spread) == (2, math.inf)
    assert spread([1.0]) == spread([1.0, 1.0]) == math.inf


def test_times_too_short_for_the_timer_are_steady():
    assert spread([0.0, 0.0, 0.0]) == 0
    assert spread([0.0, 0.0, 1.0]) == 0


def test_a_short_call_is_timed_as_often_as_asked_whatever_the_budget():
    hand = Hand()
    assert Clock(0.0, least=3, timer=hand).contest(hand.call(1.0, 2**-6, 2**-5, 2**-6)) == (2**-6,)
    assert hand.calls == 4


def test_a_long_call_is_timed_once_where_the_budget_is_spent():
    hand = Hand()
    assert Clock(0.0, least=3, timer=hand).contest(hand.call(3.0)) == (3.0,)
    assert hand.calls == 2


@pytest.mark.parametrize(("conditions", "now", "again"), [
    (Conditions(0.1, 0.3), 0.0, False), (Conditions(0.9, 0.3), 0.0, True), (Conditions(math.inf, 0.3), 0.0, True),
    (Conditions(0.9, 0.3, 3), 0.0, False), (Conditions(0.1, 9.0), 0.0, True), (Conditions(0.1, 9.0, 7), 0.0, True),
    (Conditions(0.1, 9.0), 9.0, False), (Conditions(0.9, 9.0), 9.0, True), (Conditions(0.1, 0.3), 9.0, False)])
def test_what_is_measured_again(monkeypatch, conditions, now, again):
    set_load(monkeypatch, now)
    assert conditions.wants_another() is again


def test_the_better_conditions_win_and_measurements_are_counted():
    quiet, busy, rough = (Measured(conditions=Conditions(*c)) for c in ((0.2, 0.0), (0.1, 9.0), (0.9, 0.0, 2)))
    assert steadier(quiet, None) is quiet
    assert steadier(quiet, rough).conditions == Conditions(0.2, 0.0, 3)
    assert steadier(busy, rough).conditions == Conditions(0.9, 0.0, 3)
    assert steadier(rough, quiet).conditions == Conditions(0.2, 0.0, 2)


def product():
    weight = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    weight[np.random.default_rng(1).random(weight.shape) < 0.5] = 0
    return Op("linear", "a", (Value(0, (30,)),), Value(1, (40,)), weight)


class Stand:
    """A chooser between two kernels, each of which takes the seconds that a test says, by the clock of the test."""

    def __init__(self, monkeypatch):
        self.hand, self.op, self.isa = Hand(), product(), isa.pick()
        self.options = candidates(self.op, self.isa.lanes, 1, self.isa)[:2]
        monkeypatch.setattr(KernelChooser, "_call", lambda _, weight, option, op: self.hand.call(
            *self.seconds[self.options.index(option)]))

    def choose(self, first, second, budget=math.inf):
        """The place of the chosen kernel, and how many calls were timed for it."""
        self.seconds, self.hand.calls = (first, second), 0
        chosen = KernelChooser(self.isa, Clock(budget, least=3, timer=self.hand))(self.op, self.options)
        return self.options.index(chosen), self.hand.calls

    @property
    def file(self):
        (file,) = cache.folder().glob("*.json")
        return file.name

    def kept(self):
        return KernelTimes.from_json(cache.read_json(self.file), 2)


SLOW, FAST = (300e-6,), (156e-6,)
INTERRUPTED, HELD_UP = (*FAST, 8260e-6, *FAST), (*FAST, *[8260e-6] * 30)


@needs_kernels
@pytest.mark.parametrize("budget", [math.inf, 1e-9])
def test_one_interrupted_call_does_not_choose_the_slower_kernel(monkeypatch, budget):
    assert Stand(monkeypatch).choose(SLOW, INTERRUPTED, budget)[0] == 1


@needs_kernels
def test_a_steady_choice_of_kernel_is_kept(monkeypatch):
    stand = Stand(monkeypatch)
    assert stand.choose(SLOW, FAST)[0] == 1
    assert stand.kept() == KernelTimes((pytest.approx(300e-6), pytest.approx(156e-6)), conditions=Conditions(
        pytest.approx(0, abs=1e-9), 0.0, 1))
    assert stand.choose(FAST, SLOW) == (1, 0)


@needs_kernels
@pytest.mark.parametrize("bad", [Conditions(4.0, 0.1), Conditions(0.0, 9.0), Conditions(math.inf, 0.1, 2)])
def test_a_kept_choice_of_kernel_that_was_measured_badly_is_measured_again(monkeypatch, bad):
    stand = Stand(monkeypatch)
    assert stand.choose(SLOW, HELD_UP)[0] == 0
    cache.write_json(stand.file, KernelTimes(stand.kept().seconds, conditions=bad).to_json())
    assert stand.choose(SLOW, FAST, budget=0.0) == (0, 0), "nothing may be measured: what is kept stands"
    assert stand.choose(SLOW, FAST)[0] == 1
    assert stand.kept().conditions.tries == bad.tries + 1
    assert stand.choose(SLOW, FAST) == (1, 0)


@needs_kernels
def test_a_choice_that_is_never_steady_is_measured_three_times(monkeypatch):
    stand, jumps = Stand(monkeypatch), [k * 1e-4 for k in (1, 1, 2, 30, 4, 50, 6, 70, 8, 90)]
    tries = [stand.choose(jumps, jumps[::-1])[1] for _ in range(5)]
    assert [n > 0 for n in tries] == [True, True, True, False, False]
    assert stand.kept().conditions.tries == 3


@needs_kernels
@pytest.mark.parametrize("kept", [
    None, [], [1.0, 2.0], {}, {"seconds": [1.0, 2.0]}, {"seconds": [1.0], "conditions": [0.1, 0.1, 1]},
    {"seconds": [1.0, -2.0], "conditions": [0.1, 0.1, 1]}, {"seconds": [1.0, math.nan], "conditions": [0.1, 0.1, 1]},
    {"seconds": [1.0, "2"], "conditions": [0.1, 0.1, 1]}, {"seconds": [1.0, True], "conditions": [0.1, 0.1, 1]},
    {"seconds": [1.0, 10 ** 400], "conditions": [0.1, 0.1, 1]}, {"seconds": "ab", "conditions": [0.1, 0.1, 1]},
    {"seconds": [1.0, 2.0], "conditions": [0.1, 0.1]}, {"seconds": [1.0, 2.0], "conditions": [0.1, 0.1, 0]},
    {"seconds": [1.0, 2.0], "conditions": [math.nan, 0.1, 1]}, {"seconds": [1.0, 2.0], "conditions": None},
    {"seconds": {"0": 1.0, "1": 2.0}, "conditions": [0.1, 0.1, 1]}])
def test_kept_times_that_are_none_are_made_anew(monkeypatch, kept):
    stand = Stand(monkeypatch)
    stand.choose(SLOW, FAST)
    cache.write_json(stand.file, kept)
    assert stand.choose(SLOW, FAST)[0] == 1
    assert stand.hand.calls
    assert stand.choose(SLOW, FAST) == (1, 0)


def network():
    net = nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 30)).eval()
    for layer in (net[0], net[2]):
        layer.weight.data[torch.rand_like(layer.weight) < 0.8] = 0
    return net


class Measurements:
    """Compiles one network again and again on a timer of the test's, and counts how often it was measured."""

    def __init__(self, monkeypatch):
        self.net, self.count, self.x = network(), 0, torch.randn(20, 40)
        real = segment.Runner._time

        def counted(*arguments):
            self.count += 1
            return real(*arguments)

        monkeypatch.setattr(segment.Runner, "_time", counted)
        monkeypatch.setattr(segment, "Clock", partial(Clock, timer=itertools.count(0, 1e-4).__next__))

    def compile(self, budget=0.5):
        """The schedule, and whether it was measured now."""
        before = self.count
        (runner,) = runtime.compile(self.net, self.x, budget=budget).runners
        return runner.schedules[20, 1], self.count > before, runner


def plant(runner, kept):
    cache.write_json(runner._cache_name(20, 1), kept)


@needs_kernels
@pytest.mark.parametrize(("conditions", "again"), [([0.1, 0.3, 1], False), ([7.0, 0.3, 1], True),
                                                   ([0.1, 9.0, 1], True), ([math.inf, 0.3, 2], True),
                                                   ([7.0, 0.3, 3], False)])
def test_a_kept_schedule_is_measured_again_where_it_was_measured_badly(monkeypatch, conditions, again):
    measurements = Measurements(monkeypatch)
    first, measured, runner = measurements.compile()
    assert measured
    assert first.conditions == Conditions(pytest.approx(0, abs=1e-6), 0.0, 1)
    plant(runner, {**first.to_json(), "conditions": conditions})
    assert measurements.compile(budget=0)[1] is False
    second, measured, _ = measurements.compile()
    assert measured is again
    assert second.conditions.tries == conditions[2] + again
    assert measurements.compile()[1] is False


@needs_kernels
def test_an_interrupted_network_is_not_slower_for_ever(monkeypatch):
    measurements = Measurements(monkeypatch)
    first, _, runner = measurements.compile()
    poisoned = {**first.to_json(), "chunks": [], "seconds": 8260e-6, "conditions": [math.inf, 0.3, 1]}
    plant(runner, poisoned)
    assert measurements.compile()[0].chunks == first.chunks


def bad_schedules():
    one = lambda **changed: lambda kept: {**kept, **changed}  # noqa: E731
    return {
        "too many rows": one(chunks=[[8, 20000]]), "too few rows": one(chunks=[[8, 4]]),
        "rows that cancel": one(chunks=[[8, 40], [8, -20]]), "no rows": one(chunks=[[8, 20], [8, 0]]),
        "an unknown width": one(chunks=[[7, 20]]), "a huge width": one(chunks=[[1 << 40, 20]]),
        "a width of zero": one(chunks=[[0, 20]]), "a negative width": one(chunks=[[-8, 20]]),
        "fractions": one(chunks=[[8, 20.0]]), "true": one(chunks=[[True, 20]]), "words": one(chunks=[["8", 20]]),
        "three numbers": one(chunks=[[8, 20, 1]]), "no pairs": one(chunks=[8, 20]), "text": one(chunks="8,20"),
        "none": one(chunks=None), "a dictionary": one(chunks={"8": 20}), "huge rows": one(chunks=[[8, 1 << 70]]),
        "dense behind the end": one(dense=[9]), "dense before the start": one(dense=[-1]),
        "dense twice": one(dense=[0, 0]),
        "dense words": one(dense=["0"]), "dense, no programs": one(chunks=[], dense=[0]), "dense none": one(dense=None),
        "negative seconds": one(seconds=-1.0), "seconds not a number": one(seconds=math.nan),
        "endless seconds": one(dense_seconds=math.inf), "seconds none": one(seconds=None),
        "seconds text": one(seconds="1"),
        "costs of nothing": one(costs=[[99, 1.0, 1.0]]), "costs negative": one(costs=[[1, -1.0, 1.0]]),
        "costs short": one(costs=[[1, 1.0]]), "costs text": one(costs="x"), "tiles unknown": one(tiles=[[7, 1.0]]),
        "tiles negative": one(tiles=[[8, -1.0]]), "tiles long": one(tiles=[[8, 1.0, 1.0]]),
        "tiles none": one(tiles=None),
        "conditions none": one(conditions=None), "conditions short": one(conditions=[0.1]),
        "conditions true": one(conditions=[0.1, 0.1, True]), "conditions text": one(conditions=["a", 0.1, 1]),
        "a missing key": lambda kept: {k: v for k, v in kept.items() if k != "tiles"}, "a list": lambda kept: [kept],
        "the older form": lambda kept: [[[8, 20000]], 1e-9, 1.0, [], [], []], "null": lambda kept: None,
        "a number": lambda kept: 5, "empty": lambda kept: {}}


@needs_kernels
@pytest.mark.parametrize("name", bad_schedules())
def test_a_kept_schedule_that_cannot_be_one_is_made_anew(monkeypatch, name):
    measurements = Measurements(monkeypatch)
    first, _, runner = measurements.compile()
    plant(runner, bad_schedules()[name](json.loads(json.dumps(first.to_json()))))
    found, measured, runner = measurements.compile()
    assert measured
    assert sum(rows for _, rows in found.chunks) in (0, 20)
    with torch.no_grad():
        torch.testing.assert_close(measurements.net(measurements.x), runner(measurements.x)[0], rtol=1e-4, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 9, 33])
def test_what_was_measured_is_read_back_as_it_was(rows, always):
    conv = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).eval()
    for net, x in ((network(), torch.randn(rows, 40)), (conv, torch.randn(rows, 2, 9, 9))):
        (runner,) = runtime.compile(net, x, budget=0.2, always=always).runners
        found = runner.schedules[rows, 1]
        kept = json.loads(json.dumps(found.to_json()))
        assert TileSchedule.from_json(kept, runner.segment, runner.isa, rows) == found
        assert TileSchedule.from_json(kept, runner.segment, runner.isa, rows + 1) is None or not found.chunks
