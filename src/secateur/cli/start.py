"""The first line of a command, and what can be refused before torch is imported."""

from __future__ import annotations

import difflib
from pathlib import Path

from secateur.core import interruption
from secateur.core.errors import SecateurError
from secateur.core.text import clean

_READ = (".safetensors", ".pt2", ".keras", ".npz", ".npy", ".txt")
"""Endings of the files that commands read."""


def start(line: str = "", *read: object) -> None:
    """Print what the command is about, at once, and import torch, which takes seconds.

    While torch is imported Ctrl-C ends the process at once; afterwards it raises ``KeyboardInterrupt``.

    Args:
        line: the first line; empty for none.
        read: what the command reads: names of any kind, of which those of files are looked for.

    Raises:
        SecateurError: one of the files is missing.
    """
    if line:
        print(clean(f"secateur {line}"), flush=True)
    for one in read:
        _check_there(str(one or ""))
    import torch  # noqa: F401

    interruption.begin()


def _check_there(text: str) -> None:
    """Refuse a missing file, with the nearest name in its folder; what has no file's ending is left for later."""
    path = Path(text).expanduser()
    if ":" in text or path.suffix.lower() not in _READ or path.exists():
        return
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    hint = f"; did you mean '{path.parent / near[0]}'?" if near else ""
    raise SecateurError(f"'{text}': there is no such file{hint}")
