"""Where the command line prints: names out of files cannot steer the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from secateur.core.text import clean


class Terminal(Console):
    """Rich's console, in which control characters of texts are written out (:func:`secateur.core.text.clean`); those
    that Rich itself steers the terminal with are no texts."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed."""
        for one in super().render(renderable, options):
            yield one if one.control else Segment(clean(one.text, keep="\n"), one.style)
