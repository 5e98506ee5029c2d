"""The optional packages of the report, imported when first needed."""

from __future__ import annotations

import importlib
from typing import Any

from secateur.core.errors import MissingExtraError


def need(module: str) -> Any:
    """Import a module of the ``report`` extra.

    Raises:
        MissingExtraError: its package is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(package, "report", "the report") from error
