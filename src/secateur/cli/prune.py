"""``secateur prune``."""

from __future__ import annotations

from typing import Any

from secateur.cli.app import Debug, app
from secateur.cli.flags import with_settings
from secateur.cut_config import CutConfig


@app.command("prune")
@with_settings(CutConfig)
def prune_command(settings: dict[str, Any], debug: Debug = False) -> None:  # noqa: ARG001
    """Cut one network, say what that costs and buys here, and write it to a file.

    By default the best that needs no labels: recovery best, from --calibration unlabelled training samples.

    A built-in network without --weights is trained first, as in a study; one of your own is taken as it comes.
    """
    from secateur.console import Live, tell_cut
    from secateur.cut_network import cut_network

    chosen = CutConfig.make(settings)
    with Live() as live:
        done = cut_network(chosen, live)
    tell_cut(done)
