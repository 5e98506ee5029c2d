"""``secateur info``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from secateur.cli.app import Debug, app
from secateur.cli.flags import sides_of
from secateur.core.errors import SecateurError
from secateur.experiment.config import StudyConfig

SIDES = (3, 32, 32)


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL|FILE", help="any network that prune takes; or a file of "
                                         "sc.save or secateur prune")],
    shape: Annotated[str, typer.Option(help="the shape of one input, without the batch (default: what the network "
                                       "tells, or 3,32,32)", show_default=False)] = "",
    classes: Annotated[int | None, typer.Option(help="how many outputs the network has for a sample: for a built-in "
                                                "network, or a factory that asks for classes or num_classes (default: "
                                                "10)", show_default=False)] = None,
    example: Annotated[str, typer.Option(help="pkg.module:name of the inputs, or of a function that makes them, for a "
                                         "network of other or several inputs: a tensor, a tuple or a dict")] = "",
    sparsity: Annotated[float | None, typer.Option(help="also say what cutting this fraction takes of each layer, and "
                                                   "saves")] = None,
    granularity: Annotated[str, typer.Option(help="what is cut: neuron, weight, 4x1, 2:4 …")] = "neuron",
    scope: Annotated[str, typer.Option(help="which items compete, or how much each layer loses")] = "layer",
    layers: Annotated[str, typer.Option(help="settings of single layers, as for study")] = "",
    least: Annotated[float, typer.Option(help="fraction of every layer that goes at least")] = 0.0,
    most: Annotated[float, typer.Option(help="fraction of every layer that goes at most")] = 1.0,
    budget: Annotated[str, typer.Option(help="what scope budget counts: parameters, flops, bytes or ms")] = "",
    weights: Annotated[str, typer.Option(help="trained weights (.safetensors)")] = "",
    data: Annotated[str, typer.Option(help="data set for a scope that needs samples; its shape is the shape")] = "",
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Print what of a network can be cut: every group of neurons, what goes with it, and why others stay.

    Of a file, what was cut where, how each tensor is stored, and the settings and versions that it was made with.

    With a sparsity, or a granularity such as 2:4 that has one, also what every layer loses and what that saves.
    """
    from secateur.models import resolve

    if path := resolve.file_named(model):
        from secateur.files.inspect.show import show

        show(path)
        return
    from secateur import data as datasets
    from secateur.experiment.spec import spec_of
    from secateur.pruning.dry_run import dry_run, targets
    from secateur.pruning.plan import plan

    loaded = datasets.resolve(data) if data else None
    sides = loaded.shape if loaded else sides_of(shape) if shape else SIDES if resolve.kind_of(model).fits else ()
    options = resolve.Options("", weights, example, sides, loaded.classes if loaded else classes or 0)
    source = resolve.find(model, options)
    network = source.make().eval()
    inputs = resolve.example_for(network, source, options, model)
    structure = _told(lambda: targets(network, inputs))
    print(structure)
    for note in source.notes:
        print(f"note: {note}")
    if sparsity is not None or ":" in granularity:
        chosen = StudyConfig.make({"layers": layers}).layer_settings
        spec = spec_of(granularity, None, scope, layers=chosen, min_sparsity=least, max_sparsity=most, budget=budget)
        made = plan(network, sparsity, data=loaded and loaded.train_x, example=inputs, spec=spec)
        print(made)
        print(dry_run(network, made, inputs))


def _told(look: Callable[[], Any]) -> Any:
    """What a look at the network gives; where the example does not fit it, the error says which flags give another."""
    try:
        return look()
    except SecateurError as error:
        if "the example does not run" in str(error):
            raise SecateurError(f"{error}; --shape gives another, --example pkg.module:name any inputs") from error
        raise
