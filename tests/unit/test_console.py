"""The live table on a terminal of a given size, and the lines elsewhere."""

import io

from rich.console import Console

from secateur.cli.console import Live, points_table


def screen(height, terminal=True):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, height=height, color_system=None)


def feed(live, count):
    live.stage("measure", count)
    for n in range(count):
        settings = {"granularity": "weight", "criterion": "magnitude", "scope": "layer", "sparsity": n / 100}
        live.point(settings, {"accuracy": 0.5, "loss": 1.0, "nonzeros": 1000 + n})
        live.step()


def shown(live):
    with live.console.capture() as caught:
        live.console.print(live._render())
    return caught.get()


def test_the_bars_stay_on_a_low_terminal():
    live = Live(screen(height=12))
    feed(live, 50)
    lines = shown(live).splitlines()
    assert len(lines) <= 12
    assert "measuring" in lines[0]
    assert "1,049" in lines[-1]


def test_at_the_end_every_row_is_there():
    console = screen(height=12)
    with Live(console) as live:
        feed(live, 50)
    final = console.file.getvalue()
    assert all(f"1,0{n:02d}" in final for n in range(50))


def test_points_of_several_seeds_are_one_line():
    live = Live(screen(height=40))
    feed(live, 1)
    feed(live, 1)
    assert shown(live).count("1,000") == 1


def test_elsewhere_there_are_plain_lines():
    console = screen(height=40, terminal=False)
    with Live(console) as live:
        live.stage("train", 10)
        live.epoch({"epoch": 1, "loss": 0.25, "accuracy": 0.5})
        live.trained({"seed": 0, "parameters": 1234, "accuracy": 0.5, "loss": 0.25})
    assert console.file.getvalue().splitlines() == [
        "training: 10 steps", "epoch 1: loss 0.2500, accuracy 0.5000",
        "network 0: 1,234 parameters, test accuracy 0.5000, loss 0.2500"]


def printed(renderable):
    console = Console(file=io.StringIO(), width=80)
    console.print(renderable)
    return console.file.getvalue()


def test_the_time_left_is_whole_beside_an_epoch_at_80_columns():
    live = Live(Console(file=io.StringIO(), width=80))
    live.stage("train", 22)
    live.step()
    live.epoch({"epoch": 1, "loss": 2.2841, "accuracy": 0.1336})
    text = printed(live._render())
    assert "…" not in text
    assert "0:00:00 left" in text


def test_small_sparsities_are_told_apart():
    line = {"accuracy": [0.9], "loss": [0.1], "nonzeros": [10.0], "speed": {}}
    text = printed(points_table({("weight", "magnitude", "layer", "none", s): line for s in (0.0, 0.005)}))
    assert "0.5%" in text
