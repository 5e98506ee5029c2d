"""Timing logic on a made-up clock: order, rounds, ratios; never real time."""

import pytest

from secateur.measure import latency


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when a call says so."""
    now = [0.0]
    monkeypatch.setattr(latency, "perf_counter", lambda: now[0])
    return now


def ticking(clock, seconds, log, name):
    def call():
        log.append(name)
        clock[0] += seconds
    return call


def test_every_variant_runs_in_every_round(clock):
    log = []
    calls = {"original": ticking(clock, 0.02, log, "o"), "small": ticking(clock, 0.005, log, "s")}
    times = latency.interleave(calls, seconds=0.3)
    assert len(times["original"]) == len(times["small"]) == 6
    assert log.count("o") == log.count("s") == 12
    assert latency.summary(times)["small"]["speedup"] == pytest.approx(4.0)


def test_slow_calls_still_get_five_rounds(clock):
    times = latency.interleave({"original": ticking(clock, 9.0, [], "o")}, seconds=0.1)
    assert times["original"] == pytest.approx([9.0] * 5)


def test_quick_calls_are_repeated_within_a_round(clock):
    log = []
    latency.interleave({"original": ticking(clock, 2**-12, log, "o")}, seconds=0.0)
    assert len(log) == 5 * (1 + 4)


def test_the_ratio_is_of_the_same_round():
    drifting = {"original": [1.0, 10.0, 100.0], "small": [0.5, 5.0, 50.0]}
    figures = latency.summary(drifting)["small"]
    assert (figures["speedup_low"], figures["speedup"], figures["speedup_high"]) == (2.0, 2.0, 2.0)
    assert figures["median"] == 5.0
