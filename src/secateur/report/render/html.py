"""Small pieces of HTML; every text that comes from a run is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from secateur.report.plots.base import Board, Control, Table

MOST_RADIOS = 8
NEAR = Control("near", "accuracy axis", (("", "whole"), ("near", "near the original")))


def tag(element: str, inner: str = "", /, **attributes: object) -> str:
    """An element; ``inner`` is HTML. ``class_`` is class, other underscores become hyphens.

    >>> tag("p", "a &amp; b", class_="x", data_n=1)
    '<p class="x" data-n="1">a &amp; b</p>'
    """
    given = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(str(v))}"'
                    for k, v in attributes.items() if v is not None)
    return f"<{element}{given}>" + (f"{inner}</{element}>" if element != "input" else "")


def paragraphs(texts: Iterable[str]) -> str:
    """One paragraph a text."""
    return "".join(tag("p", escape(t)) for t in texts)


def table(t: Table, caption: str = "") -> str:
    """A table that scrolls by itself where it is wider than the page."""
    head = tag("tr", "".join(tag("th", escape(h), scope="col", class_=kind(t, i)) for i, h in enumerate(t.head)))
    rows = "".join(tag("tr", "".join(
        tag("th", escape(c), scope="row") if i == 0 else tag("td", escape(c), class_=kind(t, i))
        for i, c in enumerate(row))) for row in t.rows)
    inner = tag("table", tag("thead", head) + tag("tbody", rows))
    named = tag("p", escape(caption), class_="caption") if caption else ""
    scroll = tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption or ", ".join(t.head))
    return tag("div", named + scroll, class_="table")


def kind(t: Table, column: int) -> str | None:
    """The class of a column: numbers are set to the right."""
    return "number" if column in t.numbers else None


def control(board: str, c: Control) -> str:
    """The choice of a board: radio buttons, or a list where there are many options."""
    if len(c.options) < 2:
        return tag("input", type="hidden", name=f"{board}-{c.name}", value=c.options[0][0])
    if len(c.options) > MOST_RADIOS:
        options = "".join(tag("option", escape(label), value=v) for v, label in c.options)
        chooser = tag("select", options, name=f"{board}-{c.name}")
        return tag("label", tag("span", escape(c.label)) + chooser, class_="control")
    radios = "".join(radio(f"{board}-{c.name}", v, label, i == 0) for i, (v, label) in enumerate(c.options))
    return tag("fieldset", tag("legend", escape(c.label)) + tag("div", radios, class_="options"), class_="control")


def radio(name: str, value: str, label: str, checked: bool) -> str:
    """One radio button with its label."""
    button = tag("input", type="radio", name=name, value=value, checked="" if checked else None)
    return tag("label", button + tag("span", escape(label)))


def board(b: Board) -> str:
    """A board's place on the page: its controls, and an empty canvas a frame that the script fills."""
    controls = "".join(control(b.key, c) for c in (*b.controls, *[NEAR] * b.closer))
    first = b.choices[0]
    figures = "".join(figure(frame[first].title, b.key, i) for i, frame in enumerate(b.frames))
    return tag("div", tag("div", controls, class_="controls") + tag("div", figures, class_=f"frames n{len(b.frames)}")
               + tag("p", escape(b.note), class_="note"), class_="board", data_board=b.key)


def figure(title: str, key: str, frame: int) -> str:
    """One canvas with its title, its key and its numbers."""
    numbers = tag("summary", "The numbers") + tag("div", class_="scroll", tabindex="0")
    return tag("figure", tag("figcaption", escape(title)) + tag("div", class_="key", role="group", aria_label="series")
               + tag("div", class_="canvas", id=f"{key}-{frame}", role="img", aria_label=title)
               + tag("details", numbers, class_="numbers"), data_frame=frame)


def embedded(data: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
