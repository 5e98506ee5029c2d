"""The end of a study in the terminal: a table of four rows, the report's address, what to type next."""

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from synthetic_run import make

from secateur.cli import app
from secateur.cli.answer import answer_table, next_commands, tell
from secateur.core.terminal import Terminal
from secateur.measure.speed import Speed
from secateur.report import Report
from secateur.report.conclusions import AnswerRow
from secateur.report.results import Method
from secateur.report.statistics import Interval

WEIGHTS, NEURONS = Method("weight", "magnitude", "layer", False), Method("neuron", "l2", "layer", False)
BEST = replace(NEURONS, criterion="elimination", recovery="best")
FAST, NOISY = Speed(1e-3, 4.0, 3.9, 4.1), Speed(1e-3, 9.0, 1.0, 30.0, "the machine was busy")
ROWS = [
    AnswerRow(WEIGHTS, "", 0.9, True, Interval(0.975, 0.9725, 0.9775, ("seeds",)), 1000, 0.125,
              (("1", FAST), ("64", NOISY))),
    AnswerRow(NEURONS, ""),
    AnswerRow(BEST, "recovery from 8,192 unlabelled samples", 0.7, False,
              Interval(0.97, float("nan"), float("nan"), ()), 2000, 0.25, (("1", FAST), ("64", FAST)))]


def printed(*what, width=80, is_terminal=False):
    console = Terminal(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
    for one in what:
        console.print(one)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_every_value_stands_in_the_table_whatever_the_width(width):
    text = printed(answer_table(ROWS, width), width=width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for told in ("removable", "accuracy ±", "size", "speed at 1", "at 64", "90%", "97.50% ±0.25", "12.5%", "4.0×",
                 "9.0×?", "nothing", "probably 70%", "97.00% ", "25%"):
        assert told in text
    names = [line[:20].split("  ")[0] for line in text.splitlines()[1:]] if width == 80 else []
    assert names in ([], ["weights", "neurons, plain", "neurons, recovered"])


def test_what_to_type_next_is_typed_as_commands_are():
    run = make(Path("runs/my run"))
    commands = next_commands(ROWS, run)
    export = shlex.split(commands["save that network to a file"])
    assert export[:3] == ["secateur", "export", "runs/my run"]
    given = typer.main.get_command(app).commands["export"].make_context("export", export[2:]).params
    assert {name: given[name] for name in ("granularity", "sparsity", "criterion", "scope", "recovery")} == {
        "granularity": "weight", "sparsity": "0.9", "criterion": "magnitude", "scope": "layer", "recovery": "none"}
    draft = replace(run, config=run.config | {"draft": True})
    assert next(iter(next_commands(ROWS, draft))) == "next, run the whole study"
    assert next_commands([AnswerRow(WEIGHTS, "")], run) == {}


def test_a_run_ends_with_a_sentence_a_table_and_an_address(tmp_path):
    console = Terminal(file=io.StringIO(), width=80)
    tell(Report("You can remove [a lot].", [tmp_path / name for name in (
        "report.html", "summary.md", "figures/accuracy.pdf")]), make(), console)
    text = console.file.getvalue()
    assert f"also: {tmp_path / 'summary.md'}\n" in text
    assert "You can remove [a lot]." in text
    assert f"report: {(tmp_path / 'report.html').as_uri()}" in text and text.count("secateur ") == 2
    assert "weights" in text and "neurons" in text
