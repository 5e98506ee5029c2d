"""Ctrl-C in the command line gives one line and exit code 130, even while the package is still being imported."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import Any

INTERRUPTED = 130
_kept: list[str] = []
"""What an interruption leaves behind besides finished rows."""


def leave(what: str) -> None:
    """Have the message of an interruption name what was left behind, such as a report."""
    _kept[:] = [what]


def watch() -> None:
    """End the command line at once at Ctrl-C; called before torch is imported, when there is nothing to tidy up.

    An exception would not do: C++ code that is being initialised aborts on it, and some code swallows it. Signals that
    are ignored, as in the background of a shell, stay ignored; a process that only imports the package is left alone.
    """
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def begin() -> None:
    """From here on Ctrl-C raises ``KeyboardInterrupt``, so that running code can tidy up."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _stop)


def over() -> None:
    """The work is done: from here on Ctrl-C ends the interpreter, which is shutting down, without a message."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_command() -> bool:
    """Whether the process is ``secateur`` or ``python -m secateur``."""
    first = sys.argv[0] if sys.argv else ""
    if first == "-m":
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "secateur"
    return os.path.splitext(os.path.basename(first))[0] == "secateur"


def command_line() -> str:
    """The command as it was typed, so that a reader can run it again."""
    return shlex.join(["secateur", *sys.argv[1:]])


def message() -> str:
    """What is left of the work after an interruption, and how to go on."""
    study = sys.argv[1:2] == ["study"]
    kept = "every finished row is kept. To continue" if study else "nothing was written. To start over"
    left = "".join(f", {what}" for what in _kept)
    return f"interrupted{left}; {kept}, run again: {command_line()}"


def _stop(*_: Any) -> None:
    """What Python itself does at Ctrl-C."""
    raise KeyboardInterrupt


def _leave(*_: Any) -> None:
    """Print the message and end at once: no buffer is full and no file is open yet."""
    os.write(2, f"secateur: {message()}\n".encode(errors="backslashreplace"))
    os._exit(INTERRUPTED)
