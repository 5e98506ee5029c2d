"""``secateur prune``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from secateur.cli.app import CUT
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core.errors import SecateurError
from secateur.core.settings import check_forms
from secateur.experiment.single.config import CutConfig


@command("prune", CutConfig, panel=CUT, examples=(
    "secateur prune lenet-300-100 --data digits --epochs 3 --sparsity 0.9 --out sparse.safetensors",
    "secateur prune mypackage.nets:make --weights trained.safetensors --data samples.npz --sparsity 0.5 --granularity "
    "neuron", "secateur prune mlp --sparsity 0.8 --bits 8 --out small.safetensors",
    "secateur prune lenet-300-100 --data digits --epochs 3 --max-loss 0.5 --out small.safetensors",
    "secateur prune net.pt2 --trust --data inputs.npy --sparsity 0.8 --granularity 4x1"))
def prune(
    settings: dict[str, Any],
    network: Annotated[str | None, typer.Argument(metavar="MODEL", help="the network to cut, same as --model")] = None,
) -> None:
    """Prune one network, measure what that costs and buys on this machine, and write it to a file.

    By default it uses the best method that needs no labels: recovery best, on --calibration training samples.

    A built-in network without --weights is trained first, as in a study; your own network is used as it is.

    Without labels, the outputs are compared with the original's on held-out samples.

    With --bits 8 the cut network is then quantised, with the same samples; --sparsity 0 --bits 8 quantises alone.

    With --max-loss or --agreement in place of --sparsity it looks for the smallest file (--goal speed: the fastest
    network) within that loss, measured on an eighth of the --calibration samples that nothing else sees, and prints
    what it tried; to quantise alone and to leave the network as it is are among that.
    """
    if network is not None and settings.setdefault("model", network) != network:
        raise SecateurError(f"prune: got MODEL '{network}' and --model '{settings['model']}'; allowed is one of them")
    check_forms((CutConfig,), settings)
    cut_at = f" at sparsity {settings['sparsity']}" if "sparsity" in settings else ""
    cut_at += "".join(f" within {name.replace('_', ' ')} {settings[name]}" for name in ("max_loss", "agreement")
                      if name in settings)
    start(f"prune: {settings.get('model', CutConfig.model)}{cut_at}",
          *(settings.get(name) for name in ("model", "data", "weights")))
    from secateur.cli.console import tell_cut
    from secateur.cli.live import Live
    from secateur.experiment.single.prune import cut_network
    from secateur.experiment.single.searched import search_network

    config = CutConfig.make(settings)
    with Live() as live:
        cut = search_network(config, settings.keys(), live) if config.is_search else cut_network(config, live)
    tell_cut(cut)
