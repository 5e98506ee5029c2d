"""``secateur export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.app import Debug, app
from secateur.cli.flags import sides_of


@app.command("export")
def export_command(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE|MODEL", show_default=False,
                                           help="the folder of a study, a file of secateur prune or sc.save, or any "
                                           "network that prune takes")],
    to: Annotated[str, typer.Option(help="onnx, pt2, openvino, safetensors, or report of a run")] = "onnx",
    out: Annotated[str, typer.Option(help="the file (default: the name of the source, here)")] = "",
    force: Annotated[bool, typer.Option("--force", help="replace the file where it is there")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="for onnx: weights in eight bits, by ONNX Runtime")] = False,
    model: Annotated[str, typer.Option(help="of a file: what makes the network before the first cut, "
                                       "pkg.module:factory or a built-in name")] = "",
    weights: Annotated[str, typer.Option(help="of a model: its trained weights (.safetensors)")] = "",
    shape: Annotated[str, typer.Option(help="not of a run: the shape of one input, without the batch, or how many "
                                       "tokens")] = "",
    classes: Annotated[int | None, typer.Option(help="not of a run: how many outputs a built-in network has (default: "
                                                "10)", show_default=False)] = None,
    example: Annotated[str, typer.Option(help="not of a run: pkg.module:name of the inputs, a tensor, a tuple or a "
                                         "dict")] = "",
    sparsity: Annotated[float | None, typer.Option(help="of a run: which cut, 0 for the uncut network")] = None,
    granularity: Annotated[str | None, typer.Option(help="of a run: which cut")] = None,
    criterion: Annotated[str | None, typer.Option(help="of a run: which cut")] = None,
    scope: Annotated[str | None, typer.Option(help="of a run: which cut")] = None,
    recovery: Annotated[str | None, typer.Option(help="of a run: which cut")] = None,
    seed: Annotated[int, typer.Option(help="of a run: which network")] = 0,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Write a network as a file of another tool, and check that with the tool's own runtime before it is left.

    Of a run, the network is made again from its trained weights, and held against the row that was measured.
    """
    from secateur.cli.console import tell_export
    from secateur.experiment.export_run import Wanted, taken

    cut = {"sparsity": sparsity, "granularity": granularity, "criterion": criterion, "scope": scope,
           "recovery": recovery, "seed": seed}
    wanted = Wanted(source.expanduser(), to, out, force, int8, model, sides_of(shape) if shape else (),
                    classes or 0, example, weights, cut)
    done: Any = taken(wanted)
    tell_export(done)
