"""Fills the templates that lie beside this file; every text that comes from a run is escaped, for HTML on the page and
for Markdown in the summary."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from secateur.core.optional import need


def render(template: str, **values: Any) -> str:
    """The text of a template with its values.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Any:
    jinja2 = need("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=lambda name: name is not None and ".html" in name)
    environment.filters |= {"plain": plain, "fence": fence}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": False}
    return environment


def plain(text: str) -> str:
    """A text as Markdown that shows it as it is, in one line: no tags, code, links, images or columns of a table.

    >>> plain("<b>|`x`"), plain("a [b](c)")
    ('&lt;b>\\\\|\\\\`x\\\\`', 'a \\\\[b\\\\](c)')
    """
    line = " ".join(text.split("\n")).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`|\[\]])", r"\\\1", line)


def fence(text: str) -> str:
    """The marks around a block of code, longer than any in it."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


def read(name: str) -> str:
    """The text of a file that lies beside this one."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
