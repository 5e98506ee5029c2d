"""The live display fits a narrow terminal."""

import io

from rich.console import Console

from secateur.console import Live, points_table


def shown(renderable):
    console = Console(file=io.StringIO(), width=80)
    console.print(renderable)
    return console.file.getvalue()


def test_the_time_left_is_whole_beside_an_epoch_at_80_columns():
    live = Live(Console(file=io.StringIO(), width=80))
    live.stage("train", 22)
    live.step()
    live.epoch({"epoch": 1, "loss": 2.2841, "accuracy": 0.1336})
    text = shown(live._render())
    assert "…" not in text
    assert "0:00:00 left" in text


def test_small_sparsities_are_told_apart():
    line = {"accuracy": [0.9], "loss": [0.1], "parameters": [10.0], "speed": {}}
    text = shown(points_table({("weight", "magnitude", "layer", s): line for s in (0.0, 0.005)}))
    assert "0.5%" in text
