"""From what was typed to an exit code."""

from __future__ import annotations

import sys
from typing import Any

import typer

from secateur.cli.app import app
from secateur.core import interruption, registry
from secateur.core.errors import SYNONYMS, SecateurError
from secateur.core.interruption import INTERRUPTED
from secateur.core.text import clean

_ROOMS = {"granularity": "granularity", "recovery": "recovery", "criterion": "criteria"}
"""Of each option, the registry of its names."""


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, an interruption exit code 130."""
    registry.search_last("")
    if "--debug" in sys.argv:
        app(prog_name="secateur")
        return
    try:
        code = typer.main.get_command(app).main(prog_name="secateur", standalone_mode=False)
        code = _end_interrupted() if code == INTERRUPTED else code
    except KeyboardInterrupt:
        code = _end_interrupted()
    except (SecateurError, ImportError) as error:
        code = _fail(str(error), 2)
    except OSError as error:
        code = _fail(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except Exception as error:
        code = _fail_at_work(error)
    interruption.over()
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    """Print one line on standard error."""
    print(f"secateur: {clean(' '.join(message.split()))}", file=sys.stderr)
    return code


def _end_interrupted() -> int:
    """Say what is left of the work, and how to go on."""
    return _fail(interruption.message(), INTERRUPTED)


def _fail_at_work(error: Exception) -> int:
    """A mistake in the command line as the parser words it; anything else is ours, in one line, exit code 1."""
    if hasattr(error, "format_message"):
        words, context = error.format_message(), getattr(error, "ctx", None)
        words = _name_option(getattr(error, "option_name", ""), context) or words
        command = f" {context.info_name}" if context is not None and context.parent is not None else ""
        return _fail(f"{words} See: secateur{command} --help", 2) if words else 2
    return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _name_option(asked: str, context: Any) -> str:
    """What to type for an option that other tools have: ``--amount`` is ``--sparsity``; empty where none is known.

    >>> _name_option("--amount", None)
    "there is no option '--amount': did you mean '--sparsity'?"
    """
    word = asked.lstrip("-").replace("_", "-")
    ours = SYNONYMS.get(word, word)
    known = [option for p in context.command.params for option in p.opts] if context else ["--sparsity"]
    flag = next((f for f in (f"--{ours}", f"--granularity {ours}", f"--recovery {ours}", f"--criterion {ours}")
                 if f.split()[0] in known and _takes(f)), "")
    return f"there is no option '{asked}': did you mean '{flag}'?" if flag and asked else ""


def _takes(flag: str) -> bool:
    """Whether a name behind a flag is one that it takes."""
    name, _, value = flag.lstrip("-").partition(" ")
    return not value or value in registry.allowed(_ROOMS[name])
