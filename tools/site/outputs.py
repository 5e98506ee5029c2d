"""What the Python blocks of a page print, run in order, beside what the page says that they print.

    python tools/site/outputs.py docs/PAGE.md ...

writes the outputs of blocks whose title says that figures vary. They hold what one machine gave, and the tests compare
only their words; blocks with the title "prints" are written by hand and are the same on every machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.M | re.S)
PRINTS = ' title="prints"'
VARY = ' title="prints (figures vary)"'
NUMBER = re.compile(r"\d[\d,.]*")
TIMED = re.compile(r"^(ms at .*?)  .*$", re.M)


def replayed(text: str, name: str) -> list[tuple[str, str, str]]:
    """Every block that a page shows as an output: its title, what it shows, what the block before it printed."""
    names: dict[str, object] = {"__name__": "snippet"}
    printed, found = "", []
    for match in FENCE.finditer(text):
        kind, title, body = match.groups()
        if kind == "python" and not title:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(body, name, "exec", dont_inherit=True), names)
            printed = out.getvalue()
        elif title in (PRINTS, VARY):
            found.append((title, body, printed))
    return found


def words(text: str) -> str:
    """An output without its figures and the width of its columns; of times only what was timed."""
    return re.sub(r"[ \t]+", " ", NUMBER.sub("#", TIMED.sub(r"\1", text)))


def written(text: str, name: str) -> str:
    """A page with the outputs of this machine where figures vary."""
    outputs = iter([printed for title, _, printed in replayed(text, name) if title == VARY])

    def block(match: re.Match[str]) -> str:
        if match[2] != VARY:
            return match[0]
        lines = (line.rstrip() for line in next(outputs).splitlines())
        return f"```{match[1]}{match[2]}\n" + "\n".join(lines) + "\n```"
    return FENCE.sub(block, text)


def main() -> None:
    """Write the outputs into the pages that are named."""
    pages = [Path(given).resolve() for given in sys.argv[1:]]
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            page.write_text(written(page.read_text(), page.name))
            os.chdir(page.parent)


if __name__ == "__main__":
    main()
