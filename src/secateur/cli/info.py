"""``secateur info``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cli.app import LOOK
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core import names, text
from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.core.settings import CUT, NETWORK, REQUIRED, setting
from secateur.core.text import say
from secateur.experiment.checks import check_granularity, check_layers, check_name_of_granularity, read_layers

if TYPE_CHECKING:
    from torch import nn

SIDES = (3, 32, 32)


def _check_settings_act(options: InfoOptions) -> None:
    from secateur.experiment.combinations import check_settings_act

    check_settings_act(options)


@dataclass(frozen=True, kw_only=True)
class InfoOptions(Options):
    """What is looked at, and the cut that is tried on it."""

    cross_checks = (_check_settings_act,)

    model: str = setting(REQUIRED, "any model that prune accepts, or a file written by sc.save or secateur prune",
                         argument="MODEL|FILE", form=partial(names.check_network, also=names.OURS))
    data: str = setting("", "data set for scopes that need samples; it also sets --shape and --classes", group=NETWORK,
                        form=partial(names.check_in_study, "data"))
    sparsity: float | None = setting(None, "also print what this sparsity removes from each layer, and what it saves",
                                     form=check_sparsity)
    granularity: str = setting("neuron", "what is cut: neuron, weight, 4x1, 2:4 …", group=CUT,
                               form=check_name_of_granularity, check=check_granularity)
    scope: str = setting("layer", "which items compete, or how the sparsity is spread over layers", group=CUT,
                         room="scopes")
    layers: str = setting("", "settings for single layers as JSON, as in secateur "
                              "study", group=CUT, form=read_layers, check=check_layers, json=True)
    min_sparsity: float = setting(0.0, "minimum fraction to prune in every layer", group=CUT, aliases=("least",),
                                  least=0, greatest=1)
    max_sparsity: float = setting(1.0, "maximum fraction to prune in every layer", group=CUT, aliases=("most",),
                                  least=0, greatest=1)
    budget: str = setting("", "what scope budget counts: parameters, flops, bytes or ms", group=CUT)


@command("info", InfoOptions, panel=LOOK, examples=(
    "secateur info resnet20 --sparsity 0.5", "secateur info mypackage.nets:make --shape 3,64,64",
    "secateur info small.safetensors"))
def info(settings: dict[str, Any]) -> None:
    """Print what can be cut in a network: every group of neurons, what is removed with it, and why others stay.

    For a file of secateur: what was cut where, how each tensor is stored, and the settings and versions used.
    For a .pt2, which is a program: without --trust only the names and sizes of its members.

    With a sparsity, or a granularity such as 2:4 that has one: also what is removed from each layer, and what
    that saves.
    """
    start(f"info: {settings['model']}", *(settings.get(name) for name in ("model", "data", "weights")))
    from secateur.models import resolve

    options = InfoOptions.make(settings)
    if path := resolve.file_named(options.model):
        from secateur.files.inspect.show import show

        show(path)
    elif options.model.endswith(".pt2") and not options.trust:
        _print_members(Path(options.model).expanduser())
    else:
        _print_network(options)


def _print_members(path: Path) -> None:
    """Print what is in a ``.pt2`` that nobody vouches for; nothing of it is opened."""
    from secateur.models.loaders._archive import members

    found = members(path)
    say(f"{path}: {len(found)} members, {sum(size for _, size in found):,} bytes")
    say(text.table(("member", "bytes"), [(text.clean(name), f"{size:,}") for name, size in found]))
    say("note: a .pt2 is a program that torch runs; if you know who made it, open it with --trust")


def _print_network(options: InfoOptions) -> None:
    """Print what of a network can be cut, and a cut of it where one is asked for."""
    from secateur import data as datasets
    from secateur.models import example_inputs, resolve

    data = datasets.resolve(options.data) if options.data else None
    if data:
        options = replace(options, shape=data.shape, classes=data.classes)
    elif not options.shape and resolve.kind_of(options.model).fits:
        options = replace(options, shape=SIDES)
    source = resolve.find(options.model, options)
    network = source.make().eval()
    inputs = example_inputs.example_for(network, source, options, options.model)
    _print_structure(network, inputs)
    for note in source.notes:
        say(f"note: {note}")
    if options.sparsity is not None or ":" in options.granularity:
        _print_cut(options, network, inputs, data.train_x if data else None)


def _print_structure(network: nn.Module, inputs: Any) -> None:
    """Print the groups of a network.

    Raises:
        SecateurError: the inputs do not fit it; the message says which flags give others.
    """
    from secateur.pruning.dry_run import targets

    try:
        structure = targets(network, inputs)
    except SecateurError as error:
        if "the example does not run" in str(error):
            raise SecateurError(f"{error}; set another shape with --shape, or inputs of your own with --example "
                                "pkg.module:name") from error
        raise
    say(structure)


def _print_cut(options: InfoOptions, network: nn.Module, inputs: Any, data: Any) -> None:
    """Print what a cut takes of every layer, and what it saves."""
    from secateur.experiment.point import Point
    from secateur.pruning.dry_run import dry_run
    from secateur.pruning.granularity import resolve as resolve_granularity
    from secateur.pruning.plan import plan

    criterion = resolve_granularity(options.granularity).criterion(data is not None)
    point = Point(options.granularity, criterion, options.scope, options.sparsity, None, 0, layers=options.layers,
                  least=options.min_sparsity, most=options.max_sparsity, budget=options.budget)
    cut = plan(network, options.sparsity, data=data, example=inputs, spec=point.spec)
    say(cut)
    say(dry_run(network, cut, inputs))
