"""What a study shows while it runs: a bar and the best rows on a terminal, a line a minute elsewhere."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from secateur.cli.live import Live, outlook_text
from secateur.cli.points import Points, half_interval
from secateur.core.terminal import Terminal

KINDS = [("weight", "magnitude", "none"), ("weight", "random", "none"), ("weight", "magnitude", "best"),
         ("neuron", "l2", "none"), ("neuron", "elimination", "reinitialised")]
QUIET = {"median": 1.0, "low": 0.98, "high": 1.02}


def terminal(width=80, height=24, is_terminal=True):
    return Terminal(file=io.StringIO(), force_terminal=is_terminal, width=width, height=height, color_system=None)


def settings(granularity="weight", criterion="magnitude", recovery="none", sparsity=0.5, seed=0):
    return {"granularity": granularity, "criterion": criterion, "scope": "layer", "recovery": recovery,
            "sparsity": sparsity, "seed": seed}


def figures(accuracy, size=100_000, tests=10_000):
    return {"accuracy": accuracy, "bytes": size, "bytes_sparse": size, "tests": tests}


def timing(ratio, load=0.0):
    ways = {"original": QUIET, "small": QUIET | {"speedup": ratio, "speedup_low": ratio, "speedup_high": ratio}}
    return {"latency": dict.fromkeys(("1", "64", "1024"), ways),
            "conditions": {b: {"load": load, "rounds": 50} for b in ("1", "64", "1024")}, "work_ratio": None}


def feed(live, seeds=3):
    """A study of several cuts whose accuracy falls with the sparsity."""
    for seed in range(seeds):
        live.trained({"seed": seed, "accuracy": 0.978, "parameters": 2_386_000, "loss": 0.1})
    live.stage("measure", 100)
    for granularity, criterion, recovery in KINDS:
        for step in range(1, 10):
            for seed in range(seeds):
                point = settings(granularity, criterion, recovery, step / 10, seed)
                live.point(point, figures(0.979 - (step / 10) ** 4 / 10, 954_400 * (10 - step)))
                live.point(point, timing(1.0 + step))
                live.step()


def shown(live):
    with live.console.capture() as caught:
        live.console.print(live._render())
    return caught.get()


@pytest.mark.parametrize("width", [80, 60])
def test_nothing_is_cut_off_and_nothing_is_wider_than_the_terminal(width):
    live = Live(terminal(width, 40))
    feed(live)
    live.epoch({"epoch": 1, "loss": 2.2841, "accuracy": 0.1336})
    live.left(3 * 3600)
    text = shown(live)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for head in ("cut", "removed", "accuracy ±", "size", "speed at 1", "at 64"):
        assert head in text
    assert "1024" not in text, "two batch sizes are enough"
    assert "about 3 h left" in text
    assert re.sub(r"\s+", " ", text).count("reinitialised") > 0


def test_what_is_the_same_in_all_rows_is_left_out():
    live = Live(terminal(height=40))
    live.trained({"seed": 0, "accuracy": 0.978, "parameters": 1000, "loss": 0.1})
    live.point(settings(sparsity=0.5), figures(0.97))
    live.point(settings(sparsity=0.8), figures(0.96))
    text = shown(live)
    assert "weights" in text and "magnitude" not in text and "layer" not in text and "speed" not in text


def test_the_table_keeps_to_the_height_and_shows_the_best_not_the_last():
    live = Live(terminal(height=13))
    feed(live)
    lines = shown(live).splitlines()
    assert len(lines) <= 13
    rows = [line for line in lines if line.startswith(("weights", "neurons"))]
    # 0.979 - 0.6**4 / 10 is within 0.005 of 0.978, and 0.7 is not.
    assert len(rows) == 6 and all("60%" in row for row in rows[:2])
    assert rows[0].startswith("weights") and rows[1].startswith("neurons"), "in turn"


def test_the_order_is_the_smallest_within_the_tolerance_then_the_most_accurate():
    points = Points(0.01)
    points.trained(0, 0.9, 1000)
    for sparsity, accuracy, size in ((0.1, 0.90, 3600), (0.5, 0.895, 2000), (0.7, 0.85, 1200), (0.9, 0.5, 400),
                                     (0.8, 0.86, 800)):
        points.add(settings(sparsity=sparsity), figures(accuracy, size))
    points.add(settings(sparsity=0.0), figures(0.9, 4000))
    assert [line.sparsity for line in points.best(9)] == [0.5, 0.1, 0.8, 0.7, 0.9]
    assert "the smallest within 1 points of 90%" in points.caption()


def test_a_row_holds_the_mean_its_interval_the_size_and_the_geometric_mean_of_the_speeds():
    live = Live(terminal(height=40))
    for seed, accuracy in enumerate((0.95, 0.97)):
        live.trained({"seed": seed, "accuracy": 0.96, "parameters": 1_000_000, "loss": 0.1})
        live.point(settings(seed=seed), figures(accuracy, 1_000_000, tests=0))
        live.point(settings(seed=seed), timing((2.0, 8.0)[seed]))
    row = next(line for line in shown(live).splitlines() if line.startswith("weights"))
    # Two seeds: mean 96, deviation sqrt(2), so 12.71 * sqrt(2) / sqrt(2). Size: 1 of 4 MB. Speed: sqrt(2 * 8).
    assert row.split() == ["weights", "50%", "96.00%", "±12.71", "25%", "4.0×", "4.0×"]
    # The test samples alone: 1.96 * sqrt(0.9 * 0.1 / 100).
    assert half_interval([0.9], 100) == pytest.approx(0.0588)


def test_a_control_is_no_cut_to_take():
    points = Points(0.01)
    points.trained(0, 0.9, 1000)
    points.add(settings(criterion="random"), figures(0.9) | {"control": True})
    points.add(settings(), figures(0.9) | {"control": False})
    assert [line.names[1] for line in points.best(9)] == ["magnitude"]


def test_a_noisy_speed_is_marked_and_explained():
    live = Live(terminal(height=40))
    live.trained({"seed": 0, "accuracy": 0.96, "parameters": 1000, "loss": 0.1})
    live.point(settings(), figures(0.95))
    live.point(settings(), timing(2.0, load=0.9))
    assert "2.0×?" in shown(live) and "?: a noisy timing" in shown(live)
    live.point(settings(), timing(3.0))
    assert "3.0×" in shown(live) and "?" not in shown(live)


def test_after_a_study_the_screen_is_free_for_its_answer_and_after_a_fault_the_rows_stay():
    console = terminal()
    with Live(console) as live:
        feed(live)
    before = len(console.file.getvalue())
    with contextlib.suppress(KeyboardInterrupt), Live(console) as live:
        feed(live)
        raise KeyboardInterrupt
    lines = console.file.getvalue()[before:].split("\x1b[?25h")[-1].splitlines()
    assert "best so far" in " ".join(lines)
    assert sum(line.startswith(("weights", "neurons")) for line in lines) == 12


def test_without_a_terminal_there_is_a_line_a_network_and_a_line_a_minute():
    now = [0.0]
    console = terminal(is_terminal=False)
    with Live(console, clock=lambda: now[0]) as live:
        live.outlook({"network": 1, "point": 27}, {"network": 2, "point": 33}, 300.0)
        live.trained({"seed": 0, "parameters": 1234, "accuracy": 0.5, "loss": 0.25})
        live.stage("measure", 50)
        live.left(300)
        for _ in range(25):
            now[0] += 5
            live.point(settings(), figures(0.5))
            live.step()
        live.reported(Path("/runs/a/report.html"))
        live.reported(Path("/runs/a/report.html"))
    assert console.file.getvalue().splitlines() == [
        "found 1 of 3 networks and 27 of 60 points; the rest takes about 5 minutes",
        "network 0: 1,234 parameters, test accuracy 0.5000, loss 0.2500",
        "measuring: 12 of 50, about 4 minutes left", "measuring: 24 of 50, about 3 minutes left",
        "report so far, which grows with every stage: file:///runs/a/report.html"]


def test_the_time_of_a_single_cut_is_that_of_its_stage():
    now = [0.0]
    live = Live(terminal(), clock=lambda: now[0])
    live._bars.get_time = lambda: now[0]
    live.stage("train", 100)
    for _ in range(20):
        now[0] += 1
        live.step()
    assert "about 1 minute left" in shown(live)  # 80 steps of a second
    live.outlook({}, {"network": 1}, None)
    assert "left" not in shown(live), "a study is more than its stage: it is told what is left"


def test_a_cut_that_was_left_out_is_told_with_its_reason():
    console = terminal(is_terminal=False)
    with Live(console) as live:
        live.point(settings("neuron", recovery="best"), {"refused": "[layer] is too deep"})
    assert console.file.getvalue() == "left out: the best cut of neuron at 50%: [layer] is too deep\n"


def test_a_singular_is_a_singular():
    told = outlook_text({}, {"network": 1, "point": 1}, 70.0)
    assert told == "1 network and 1 point to go; that takes about 1 minute"
