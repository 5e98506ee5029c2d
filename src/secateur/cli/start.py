"""The first line of a command, on the screen before torch is imported."""

from __future__ import annotations

from secateur.core import interruption
from secateur.core.text import clean


def start(line: str = "") -> None:
    """Print what the command is about, at once, and import torch, which takes seconds.

    While torch is imported Ctrl-C ends the process at once; afterwards it raises ``KeyboardInterrupt``.
    """
    if line:
        print(clean(f"secateur {line}"), flush=True)
    import torch  # noqa: F401

    interruption.begin()
