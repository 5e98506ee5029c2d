"""Settings check themselves from what their fields declare, and every command is made from such fields."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from secateur.bench.config import BenchConfig
from secateur.cli import app, main
from secateur.cli.bench import BenchOptions
from secateur.cli.info import InfoOptions
from secateur.core.errors import SecateurError
from secateur.core.settings import GROUPS, REQUIRED, Settings, make_each, setting, settings_of
from secateur.experiment.config import ReportOptions, RunOptions, StudyConfig
from secateur.experiment.export_config import ExportConfig
from secateur.experiment.single.config import CutConfig

COMMANDS = {"study": (StudyConfig, RunOptions), "prune": (CutConfig,), "bench": (BenchOptions, BenchConfig),
            "export": (ExportConfig,), "info": (InfoOptions,), "report": (ReportOptions,)}
FLAGS = json.loads((Path(__file__).parent.parent / "fixtures" / "flags.json").read_text())
"""The flags of every command before settings had one base class."""


def _check_even(value):
    if value % 2:
        raise SecateurError(f"even {value}: allowed are even numbers")


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    count: int = setting(3, "how many", least=1, greatest=9, aliases=("number",))
    wait_seconds: float = setting(1.0, "how long", shown="wait", least=0, greatest=9)
    even: tuple[int, ...] = setting((2,), "even numbers", check=_check_even, some=True)
    sides: tuple[int, ...] = setting((), "sides", repeats=True)
    rate: float = setting(0.5, "rate", above=0)
    kind: str = setting("", "a kind", allowed=("plain", "fancy"))
    rules: str = setting("", "rules", json=True)
    limit: float | None = setting(None, "a limit")
    on: bool = setting(True, "whether it is on")


def flags_of(name):
    """The flags of a command, hidden ones among them, and the words that are not flags."""
    command = typer.main.get_command(app).commands[name]
    return sorted(flag for p in command.params for flag in (*p.opts, *p.secondary_opts) if flag.startswith("--"))


@pytest.mark.parametrize(("given", "message"), [
    ({"count": 0}, "count 0: allowed is in [1, 9]"), ({"count": "10"}, "count 10: allowed is in [1, 9]"),
    ({"count": 1.5}, "count '1.5': allowed is a whole number"), ({"even": "2,3"}, "even 3: allowed are even numbers"),
    ({"even": "2,2"}, "even 2, 2: 2 is given twice"),
    ({"even": ""}, "even is empty; allowed is at least one value"),
    ({"even": "2,,4"}, "even '': allowed is a whole number"), ({"rate": 0}, "rate 0.0: allowed is a number above 0"),
    ({"rate": "nan"}, "rate nan: allowed is a number above 0"), ({"rate": "inf"}, "rate inf"),
    ({"kind": "fancie"}, "unknown kind 'fancie': did you mean 'fancy'? allowed: fancy, plain"),
    ({"on": "yes"}, "on 'yes': allowed are true and false"), ({"rules": 3}, "rules '3': allowed is text"),
    ({"cout": 3}, "unknown setting 'cout': did you mean 'count'?"),
    ({"count": 2, "number": 2}, "number and count are the same setting; give only one")])
def test_what_a_field_does_not_allow_is_refused_in_one_line(given, message):
    with pytest.raises(SecateurError) as caught:
        Example.make(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_fields_allow_comes_in_their_types():
    made = Example.make({"number": "4", "even": [2, 4], "sides": "3,3,", "rules": {"b": 1, "a": 2}, "limit": 1})
    assert (made.count, made.even, made.sides, made.rules, made.limit) == (4, (2, 4), (3, 3), '{"a": 2, "b": 1}', 1.0)
    assert Example() == Example.make({})
    assert Example().settings()["even"] == [2]
    assert type(Example(rate=1).rate) is int


def test_a_setting_goes_by_the_name_of_its_flag_and_by_that_of_its_field():
    assert Example.make({"wait": "2"}) == Example.make({"wait_seconds": 2}) == Example(wait_seconds=2.0)
    with pytest.raises(SecateurError, match=r"^wait and wait_seconds are the same setting"):
        Example.make({"wait": 1, "wait_seconds": 2})
    with pytest.raises(SecateurError, match=r"^wait 10: allowed is in"):
        Example(wait_seconds=10)


def test_one_thing_has_one_name_in_all_commands():
    """Batch sizes, seconds, engines, and what makes the network of a file."""
    visible = {name: {p.opts[0] for p in command.params if not getattr(p, "hidden", False)}
               for name, command in typer.main.get_command(app).commands.items()}
    assert all({"--batch", "--seconds", "--engine"} <= visible[name] for name in ("study", "prune", "bench"))
    assert all("--factory" in visible[name] for name in ("prune", "bench", "export"))
    former = {"--latency-batches", "--latency-seconds", "--batches", "--engines", "--least", "--most"}
    assert not any(former & flags for flags in visible.values())
    helps = {}
    for command in typer.main.get_command(app).commands.values():
        for one in command.params:
            if not getattr(one, "hidden", False) and one.opts[0] not in ("--out", "--layers"):
                helps.setdefault(one.help, set()).add(one.opts[0])
    assert [(text, flags) for text, flags in helps.items() if len(flags) > 1] == []


def test_later_mappings_win_and_each_class_takes_its_own():
    example, options = make_each((Example, ReportOptions), {"number": 4, "csv": True}, {"count": 5})
    assert (example.count, options.csv) == (5, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_has_help_a_group_and_a_flag(name):
    for cls in COMMANDS[name]:
        for one in settings_of(cls):
            assert one.help and one.group in GROUPS
            if one.flag and not one.argument:
                assert {f"--{n.replace('_', '-')}" for n in one.names} <= set(flags_of(name))


@pytest.mark.parametrize("name", FLAGS)
def test_no_flag_is_lost(name):
    assert set(FLAGS[name]) <= set(flags_of(name))


def test_earlier_names_of_flags_are_taken_and_not_shown():
    shown = CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "120"}).output
    assert "--min-sparsity" in shown and "--least" not in shown
    assert StudyConfig.make({"least": 0.25, "most": 0.75}).min_sparsity == 0.25


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_the_examples_of_the_help_are_commands(name, tmp_path, monkeypatch):
    """The flags of every example are those of its command, its values such as the settings take."""
    (tmp_path / "runs" / "mlp-mnist").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    examples = (typer.main.get_command(app).commands[name].epilog or "").split("\n\n")
    assert all(examples)
    for line in examples:
        words = shlex.split(line)
        assert words[:2] == ["secateur", name]
        command = typer.main.get_command(app).commands[name]
        given = command.make_context(name, words[2:]).params
        for cls in COMMANDS.get(name, ()):
            taken = {one.name: value for one in settings_of(cls) if (value := given.get(one.name)) is not None}
            if all(one.default is not REQUIRED or one.name in taken for one in settings_of(cls)):
                assert isinstance(cls.make({k: v for k, v in taken.items() if (cls, k) != (CutConfig, "model")}), cls)


@pytest.mark.parametrize(("words", "message"), [
    (["prune", "--sparsiti", "0.5"], "No such option: --sparsiti"), (["prune", "--wrong"], "secateur prune --help"),
    (["studdy"], "study"), (["diff", "a"], "Missing argument"), (["study", "--seeds"], "requires an argument"),
    (["prune", "mlp", "--model", "lenet5"], "got MODEL 'mlp' and --model 'lenet5'"),
    (["prune", "mlp", "--sparsity", "1.5"], "allowed is a fraction removed in [0, 1)"),
    (["prune", "mlp", "--sparsity", "0.5", "--pooling", "men"], "did you mean 'mean'"),
    (["prune", "mlp", "--sparsity", "0.5", "--scope", "globl"], "did you mean 'global'"),
    (["prune", "mlp", "--sparsity", "0.5", "--least", "0.1", "--min-sparsity", "0.2"], "are the same setting"),
    (["prune", "mlp", "--sparsity", "0.5", "--engine", "kernel"], "did you mean 'kernels'"),
    (["prune", "mlp", "--sparsity", "0.5", "--epochs", "-1"], "epochs -1: allowed is 0 or more"),
    (["prune", "mlp", "--sparsity", "0.5", "--device", "gpu"], "allowed are cpu, cuda"),
    (["prune", "mlp", "--sparsity", "0.5", "--budget", "flops"], "budget= is for scope 'budget'"),
    (["prune", "mlp", "--sparsity", "0.5", "--round-to", "8"], "round_to= is for granularity 'neuron'"),
    (["prune", "mlp", "--sparsity", "0.5", "--pooling", "max"], "pooling= is for granularity 'block' or 'neuron'"),
    (["prune", "mlp", "--granularity", "2:4", "--max-sparsity", "0.4"], "max_sparsity= with granularity '2:4'"),
    (["study", "--granularity", "weight", "--round-to", "8"], "round_to= is for granularity 'neuron'"),
    (["info", "mlp", "--granularity", "2:4", "--min-sparsity", "0.6"], "min_sparsity= with granularity '2:4'"),
    (["study", "--layers", "{"], "is not JSON"), (["study", "--latency-seconds", "4000"], "at most 3600"),
    (["study", "--backend", "dask"], "--address"), (["study", "--jobs", "0"], "jobs 0: allowed is 1 or more"),
    (["bench", "--layers", "8x"], "linear 8x: allowed are outputs x inputs"),
    (["bench", "--layers", "8x9", "--sparsity", "1.5"], "sparsity 1.5: allowed is in [0, 1]"),
    (["bench", "mlp", "--shape", "0"], "shape 0: allowed is 1 or more"),
    (["info", "mlpp"], "did you mean 'mlp'"), (["info", "mlp", "--granularity", "neurn"], "did you mean 'neuron'"),
    (["info", "mlp", "--scope", "glbal"], "did you mean 'global'"), (["info", "mlp", "--layers", "{"], "is not JSON"),
    (["info", "mlp", "--most", "2"], "max-sparsity 2.0: allowed is in [0, 1]"),
    (["info"], "Missing argument"), (["export"], "Missing argument"),
    (["export", "mlp", "--seed", "x"], "seed 'x': allowed is a whole number"), (["report", "nowhere"], "nowhere")])
def test_every_command_answers_a_mistake_in_one_line(words, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["secateur", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capsys.readouterr().err
    assert (caught.value.code, told.count("\n")) == (2, 1), told
    assert message in told
    assert not list(tmp_path.iterdir())
