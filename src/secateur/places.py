"""Folders of the user's that the package may write to."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The package's folder in the user's cache, as the system has it; it may not be there yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "secateur"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "secateur"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secateur"
