"""Ctrl-C in the command line: one line and exit code 130, from the first line of this package on."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import Any

INTERRUPTED = 130


def watch() -> None:
    """End the process at Ctrl-C, where it is the command line: nothing is begun while torch is imported.

    An exception would not do: C++ that is being initialised aborts on it, and some code swallows it. Where signals are
    ignored, as in the background of a shell, they stay so; a process that merely imports the package is left alone.
    """
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def begin() -> None:
    """From here on Ctrl-C raises ``KeyboardInterrupt``, so that what is at work can tidy up."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _stop)


def over() -> None:
    """All is done: Ctrl-C while the interpreter takes itself down ends it without a word."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_command() -> bool:
    """Whether the process is ``secateur`` or ``python -m secateur``."""
    first = sys.argv[0] if sys.argv else ""
    if first == "-m":
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "secateur"
    return os.path.splitext(os.path.basename(first))[0] == "secateur"


def command_line() -> str:
    """What was typed, so that a reader can run it again."""
    return shlex.join(["secateur", *sys.argv[1:]])


def message() -> str:
    """What is left of the work, and how to go on."""
    study = sys.argv[1:2] == ["study"]
    kept = "every finished row is kept. To go on" if study else "nothing was written. To start over"
    return f"interrupted; {kept}, run again: {command_line()}"


def _stop(*_: Any) -> None:
    """What Python does itself."""
    raise KeyboardInterrupt


def _leave(*_: Any) -> None:
    """Say that it ends, and end at once: no buffers are full and no files are open yet."""
    os.write(2, f"secateur: {message()}\n".encode(errors="backslashreplace"))
    os._exit(INTERRUPTED)
