"""``secateur list``."""

from __future__ import annotations

from secateur.cli.app import app


@app.command("list")
def list_command() -> None:
    """Print every model, data set, granularity, criterion and scope, with the file that holds it."""
    from secateur.cli.console import print_registry

    print_registry()
