"""Fills the templates that lie beside this file; every text that comes from a run is escaped on the page."""

from __future__ import annotations

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
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": False}
    return environment


def read(name: str) -> str:
    """The text of a file that lies beside this one."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
