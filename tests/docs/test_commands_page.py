"""The page of all commands is made from the commands, and is current."""

import importlib.util
import re
from pathlib import Path

import typer

from secateur.cli import app

ROOT = Path(__file__).parent.parent.parent
MAKER = ROOT / "tools" / "site" / "commands.py"
PAGE = ROOT / "docs" / "commands.md"


def maker():
    spec = importlib.util.spec_from_file_location("commands_page", MAKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_current():
    assert PAGE.read_text(encoding="utf-8") == maker().page(), "python tools/site/commands.py writes it anew"


def test_it_holds_every_command_and_every_option_that_is_shown():
    text = PAGE.read_text(encoding="utf-8")
    parts = dict(zip(re.findall(r"^## secateur (\S+)", text, re.M), re.split(r"^## secateur \S+", text, flags=re.M)[1:],
                     strict=True))
    commands = typer.main.get_command(app).commands
    assert parts.keys() == commands.keys()
    for name, command in commands.items():
        for one in command.params:
            for flag in (flag for flag in one.opts if flag.startswith("--")):
                assert (f"`{flag}" in parts[name]) != bool(getattr(one, "hidden", False)), (name, flag)


def test_code_is_narrow_enough_for_a_page():
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```text[^\n]*\n(.*?)^```", text, re.M | re.S):
        assert all(len(line) <= 88 for line in block.splitlines()), block
