"""When a timing is noisy, worked out by hand; what replaces what."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from secateur.core import machine
from secateur.measure import noise
from secateur.measure.noise import Noise, most_times, noisy_batches, steadier
from secateur.measure.speed import Speed, mean_speed, speeds
from secateur.runtime import timing as timing_module
from secateur.runtime.timing import Timing, time_until_quiet


def way(width=0.0, speedup=None, median=1.0):
    """Times whose quartiles are so far apart, as a part of their median."""
    times = {"median": median, "low": median * (1 - width / 2), "high": median * (1 + width / 2)}
    return times if speedup is None else times | {"speedup": speedup, "speedup_low": speedup, "speedup_high": speedup}


def timed(load=0.0, original=0.0, cut=0.0, speedup=2.0, work_ratio=2.0, batch="1"):
    return {"latency": {batch: {"original": way(original), "small": way(cut, speedup)}},
            "conditions": {batch: {"load": load, "rounds": 9}}, "work_ratio": work_ratio, "sparse_error": None}


@pytest.mark.parametrize(("given", "level", "reason"), [
    ({"load": 0.05}, 0.5, "other processes used 5% of each core"),
    ({"load": 0.25}, 2.5, "other processes used 25% of each core"),
    ({"original": 0.5}, 2.0, "the original's times differ by 50% between their quartiles"),
    ({"cut": 1.0, "load": 0.1}, 4.0, "its times differ by 100% between their quartiles"),
    ({"speedup": 6345.0, "work_ratio": 100.0}, 6345 / 400, "6,345× is more than the removed work allows (at most "
                                                           "400×)"),
])
def test_the_worst_cause_counts(given, level, reason):
    found = noise.noise(timed(**given), "1")
    assert (found.level, found.reason) == (pytest.approx(level), reason)
    assert found.is_noisy == (level > 1)


def test_exactly_at_the_bounds_is_quiet():
    assert not noise.noise(timed(load=noise.LOAD, original=noise.SPREAD, cut=noise.SPREAD), "1").is_noisy


def test_rows_of_versions_that_did_not_record_the_load_are_noisy():
    old = {"latency": timed()["latency"]}
    assert noise.noise(old, "1") == Noise(math.inf, noise.UNKNOWN)
    assert noisy_batches(old) == (1,)


def test_where_the_system_does_not_tell_the_load_the_spread_judges():
    assert not noise.noise(timed(load=None), "1").is_noisy
    assert noise.noise(timed(load=None, cut=0.3), "1").is_noisy


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_figures_that_are_no_numbers_are_noisy(value):
    assert noise.noise(timed(load=value), "1").is_noisy
    assert noise.noise(timed(cut=value), "1").is_noisy
    broken = timed()
    broken["latency"]["1"]["original"] = way(median=0.0)
    assert noise.noise(broken, "1").is_noisy


def test_the_docs_give_these_bounds():
    page = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    _, _, told = page.partition("## When a timing is noisy\n")
    for words in (f"more than {noise.LOAD:.0%} of each core", f"more than {noise.SPREAD:.0%} of the median",
                  f"more than {noise.ROOM:g} times the ratio", f"and more than {noise.OVERHEAD:g} |"):
        assert words in told
    assert noise.AGAIN == 0.5 and "at most half of the time" in told


def test_room_above_the_work_that_was_cut():
    # 50 % of the weights: half the FLOPs, so four times two is no more than the room for overhead.
    assert (most_times(2.0), most_times(6.25), most_times(50.0)) == (25.0, 25.0, 200.0)


def both(first, second):
    """Two batches timed under these loads."""
    parts = timed(load=first), timed(load=second, batch="64")
    return {**parts[0], **{k: {**parts[0][k], **parts[1][k]} for k in ("latency", "conditions")}}


def test_a_batch_is_replaced_only_by_a_less_noisy_one():
    earlier, found = both(0.5, 0.3), both(0.2, 0.4)
    found["latency"]["1"]["small"]["speedup"] = 3.0
    joined = steadier(found, earlier)
    assert joined["conditions"] == {"1": {"load": 0.2, "rounds": 9}, "64": {"load": 0.3, "rounds": 9}}
    assert joined["latency"]["1"]["small"]["speedup"] == 3.0
    assert steadier(both(0.6, 0.6), earlier) == earlier
    assert steadier(earlier, {"latency": earlier["latency"], "sparse_error": 1e-6}) == {**earlier, "sparse_error": 1e-6}


def test_noisy_batches_alone_are_timed_again_within_the_budget(monkeypatch):
    clock, asked = [0.0], []
    loads = iter([{1: 0.5, 64: 0.0, 1024: 0.3}, {1: 0.05, 1024: 0.4}, {1024: 0.2}, {1024: 0.0}])
    monkeypatch.setattr(timing_module, "perf_counter", lambda: clock[0])

    def measure(timing):
        now = next(loads)
        asked.append(timing.batches)
        clock[0] += len(timing.batches)  # a second each, so that 1.5 of them are left
        return {**timed(), "latency": {str(b): timed()["latency"]["1"] for b in timing.batches},
                "conditions": {str(b): {"load": now[b], "rounds": 9} for b in timing.batches}}

    found = time_until_quiet(measure, Timing((1, 64, 1024), 0.1, 0, ""))
    assert asked == [(1, 64, 1024), (1, 1024)]
    assert {b: c["load"] for b, c in found["conditions"].items()} == {"1": 0.05, "64": 0.0, "1024": 0.3}
    assert noisy_batches(found) == (1024,)


def test_a_noisy_ratio_is_marked_and_no_pace():
    (_, noisy), (_, quiet) = speeds(timed(load=0.5))["1"], speeds(timed())["1"]
    assert (noisy.shown, noisy.pace, quiet.shown, quiet.pace) == ("2.0×?", "noisy", "2.0×", "faster")


def test_seeds_whose_timings_are_noisy_count_only_where_all_are():
    quiet, loud = Speed(1.0, 2.0, 1.9, 2.1), Speed(1.0, 50.0, 1.0, 99.0, "loud")
    assert mean_speed([loud, quiet], 4.0) == Speed(2.0, 2.0, pytest.approx(1.9), pytest.approx(2.1))
    assert mean_speed([loud, loud], 4.0).noise == "loud"


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """The kernel's counters, the clock and this process's CPU seconds, as a test sets them; two cores of three."""
    now = {"wall": 0.0, "own": 0.0}
    path = tmp_path / "stat"

    def set_to(wall, own, *cores):
        now.update(wall=wall, own=own)
        lines = [f"cpu{n} {user} 0 {system} 999 9 0 0 {stolen} 7 7" for n, (user, system, stolen) in enumerate(cores)]
        path.write_text("\n".join(["cpu 1 1 1 1 1 1 1 1 1 1", *lines, "intr 5"]))

    monkeypatch.setattr(machine, "_COUNTERS", path)
    monkeypatch.setattr(machine, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(machine, "process_time", lambda: now["own"])
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(machine.os, "sysconf", lambda _: 100, raising=False)
    set_to(10.0, 1.0, (0, 0, 0), (0, 0, 0), (0, 0, 0))
    return set_to


def test_the_load_of_others_is_what_this_process_did_not_do(counters):
    others = machine.OthersLoad()
    # Two seconds: cores 0 and 2 worked for 1.5 + 0.3 + 0.2 s and 0.5 s, this process for 1.7 s; core 1 is another's.
    counters(12.0, 2.7, (150, 30, 20), (200, 0, 0), (50, 0, 0))
    assert others.measure() == pytest.approx((2.5 - 1.7) / 2 / 2)


def test_a_load_is_no_less_than_none_and_no_more_than_all(counters):
    others = machine.OthersLoad()
    counters(12.0, 2.7, (150, 0, 0), (0, 0, 0), (10, 0, 0))
    assert others.measure() == 0.0
    counters(12.0, 1.0, (900, 0, 0), (0, 0, 0), (900, 0, 0))
    assert others.measure() == 1.0


def test_processes_that_were_started_and_ended_are_no_others_where_that_is_asked_for(counters, monkeypatch):
    monkeypatch.setattr(machine.os, "times", lambda: SimpleNamespace(children_user=ended, children_system=0.0))
    ended = 3.0  # before it begins
    others = machine.OthersLoad(with_children=True)
    ended = 4.5
    counters(12.0, 2.0, (150, 0, 0), (0, 0, 0), (130, 0, 0))
    # Of 2.8 s of work this process did 1 s and its children 1.5 s.
    assert others.measure() == pytest.approx((2.8 - 1.0 - 1.5) / 2 / 2)


@pytest.mark.parametrize(("load", "told"), [(None, ""), (0.1, ""), (0.11, "11%"), (1.0, "100%")])
def test_a_machine_is_busy_where_a_timing_on_it_is_noisy(load, told):
    quiet = {"median": 1.0, "low": 0.95, "high": 1.05}
    timing = {"latency": {"1": {"original": quiet}}, "conditions": {"1": {"load": load, "rounds": 50}}}
    notes = noise.busy(load)
    assert bool(notes) == bool(told) == noise.noise(timing, "1").is_noisy
    assert all(f"other processes used {told} of each core" in note for note in notes)


def test_counters_that_do_not_count_this_process_tell_nothing(counters, monkeypatch, tmp_path):
    others = machine.OthersLoad()
    counters(12.0, 2.7, (0, 0, 0), (0, 0, 0), (0, 0, 0))
    assert others.measure() is None
    monkeypatch.setattr(machine, "_COUNTERS", tmp_path / "none")
    assert others.measure() is None and machine.OthersLoad().measure() is None
