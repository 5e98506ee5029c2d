"""``secateur list``."""

from __future__ import annotations

from secateur.cli.app import LOOK
from secateur.cli.flags import command


@command("list", panel=LOOK)
def list_items() -> None:
    """Print every model, data set, granularity, criterion and scope, with the file that holds it."""
    from secateur.cli.console import print_registry

    print_registry()
