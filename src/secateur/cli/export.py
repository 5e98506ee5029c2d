"""``secateur export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.app import Debug, app
from secateur.cli.flags import sides_of


@app.command("export")
def export_command(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", show_default=False,
                                           help="the folder of a study, or a file of secateur prune or sc.save")],
    to: Annotated[str, typer.Option(help="onnx, pt2, openvino, safetensors, or report of a run")] = "onnx",
    out: Annotated[str, typer.Option(help="the file (default: the name of the source, here)")] = "",
    force: Annotated[bool, typer.Option("--force", help="replace the file where it is there")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="for onnx: weights in eight bits, by ONNX Runtime")] = False,
    model: Annotated[str, typer.Option(help="of a file: what makes the network before the first cut, "
                                       "pkg.module:factory or a built-in name")] = "",
    shape: Annotated[str, typer.Option(help="of a file: the shape of one input, without the batch")] = "",
    classes: Annotated[int, typer.Option(help="of a file: how many outputs a built-in network has")] = 10,
    example: Annotated[str, typer.Option(help="of a file: pkg.module:name of the inputs, a tensor, a tuple or a "
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
    from secateur import sources
    from secateur.export import _tell
    from secateur.export._take import Wanted, taken

    sources.check_read(str(source), "the folder of a study; a file of secateur prune or sc.save")
    cut = {"sparsity": sparsity, "granularity": granularity, "criterion": criterion, "scope": scope,
           "recovery": recovery, "seed": seed}
    wanted = Wanted(source.expanduser(), to, out, force, int8, model, sides_of(shape) if shape else (), classes,
                    example, cut)
    done: Any = taken(wanted)
    _tell.tell(done)
