"""A study times noisy points again: within its budget in the same run, and in the next run of the same command."""

import dataclasses
import json
import sqlite3

import pytest

from secateur.core.progress import Progress
from secateur.experiment import time_stage, trial
from secateur.experiment.config import StudyConfig
from secateur.experiment.study import study

CONFIG = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(), sparsity=(0.0, 0.5), seeds=1, epochs=1,
                     granularity=("neuron",), criterion=("l2",), latency_batches=(1, 8), samples=0, best=False)
SAME = {"median": 1.0, "low": 1.0, "high": 1.0}


class Bench:
    """Timings whose loads are given, taken a second each of a made-up clock."""

    def __init__(self, monkeypatch):
        self.now, self.calls, self.loads = 0.0, [], []
        monkeypatch.setattr(trial, "time_cut", self.time)
        monkeypatch.setattr(time_stage, "perf_counter", lambda: self.now)

    def time(self, original, cut, zeroed, inputs, timing, what):
        load = self.loads.pop(0)
        self.calls.append(timing.batches)
        self.now += 1.0
        small = SAME | dict.fromkeys(("speedup", "speedup_low", "speedup_high"), 1.0 + load)
        return {"latency": {str(b): {"original": SAME, "small": small} for b in timing.batches},
                "conditions": {str(b): {"load": load if b == 8 else 0.0, "rounds": 9} for b in timing.batches},
                "work_ratio": 2.0, "sparse_error": None, "threads_used": 1, "engine_used": ""}


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def ratios(run):
    return {p.sparsity: {b: ways["small"]["speedup"] for b, ways in p.latency.items()} for p in run.points}


def test_noisy_batches_are_timed_again_for_half_of_the_time_and_then_by_the_next_run(bench, tmp_path):
    bench.loads = [0.5, 0.5, 0.25]  # two points, two seconds: one second is left, which the first point takes
    run = study(config=CONFIG, out=tmp_path)
    assert bench.calls == [(1, 8), (1, 8), (8,)]
    assert ratios(run) == {0.0: {"1": 1.5, "8": 1.25}, 0.5: {"1": 1.5, "8": 1.5}}

    bench.calls, bench.loads = [], [0.75, 0.0625, 0.5]  # noisier, quiet; then the first point once more
    run = study(config=CONFIG, out=tmp_path)
    assert bench.calls == [(8,), (8,), (8,)]
    assert ratios(run) == {0.0: {"1": 1.5, "8": 1.25}, 0.5: {"1": 1.5, "8": 1.0625}}

    bench.calls, bench.loads = [], [0.0]
    study(config=CONFIG, out=tmp_path)
    assert bench.calls == [(8,)]
    study(config=CONFIG, out=tmp_path)  # nothing is noisy any more
    assert bench.calls == [(8,)]


def test_timings_of_earlier_versions_and_damaged_ones_are_measured_again(bench, tmp_path):
    bench.loads = [0.0, 0.0]
    study(config=CONFIG, out=tmp_path)
    with sqlite3.connect(tmp_path / "rows.sqlite") as db:
        (first, old), (second, _) = db.execute("SELECT key, figures FROM rows WHERE kind = 'latency'").fetchall()
        kept = {k: v for k, v in json.loads(old).items() if k not in ("conditions", "work_ratio")}
        db.execute("UPDATE rows SET figures = ? WHERE key = ?", (json.dumps(kept), first))
        db.execute("UPDATE rows SET figures = ? WHERE key = ?", ('{"latency": {"1": {"original": 3}}}', second))
    bench.calls, bench.loads = [], [0.0625, 0.0625]
    run = study(config=CONFIG, out=tmp_path)
    assert bench.calls == [(1, 8), (1, 8)]
    assert ratios(run) == {s: {"1": 1.0625, "8": 1.0625} for s in (0.0, 0.5)}


def test_the_stages_say_how_many_points_are_timed_again(bench, tmp_path):
    stages = []

    class Count(Progress):
        def stage(self, name, total):
            stages.append((name, total))

    bench.loads = [0.5, 0.0, 0.0]
    study(config=CONFIG, out=tmp_path, progress=Count())
    assert stages[-2:] == [("time", 2), ("time again", 1)]


def test_without_batches_nothing_is_timed(bench, tmp_path):
    run = study(config=dataclasses.replace(CONFIG, latency_batches=()), out=tmp_path)
    assert bench.calls == [] and all(p.latency is None for p in run.points)
