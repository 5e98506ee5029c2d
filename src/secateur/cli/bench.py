"""``secateur bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from secateur.cli.app import Debug, app
from secateur.errors import SecateurError


@app.command()
def bench(
    layers: Annotated[str, typer.Option(help="linear layers as outputs x inputs")] = "1000x784,3072x768",
    batches: Annotated[str, typer.Option(help="rows at once")] = "1,16,64",
    sparsity: Annotated[str, typer.Option(help="fractions of weights that are zero")] = "0,0.3,0.5,0.7,0.8,0.9,0.95",
    threads: Annotated[int, typer.Option(help="threads of torch and of the kernels")] = 1,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Print from which sparsity on zeros pay on this machine: times faster than torch, per layer and batch."""
    import torch

    from secateur.runtime import breakeven

    try:
        shapes = [tuple(int(n) for n in layer.split("x")) for layer in layers.split(",")]
        rows, grid = [int(b) for b in batches.split(",")], [float(s) for s in sparsity.split(",")]
    except ValueError as error:
        raise SecateurError(f"bench: got --layers {layers} --batches {batches} --sparsity {sparsity}; "
                            "allowed are such as --layers 1000x784 --batches 1,64 --sparsity 0.5,0.9") from error
    if any(len(shape) != 2 for shape in shapes) or threads < 1:
        raise SecateurError(f"bench: layers {layers}, threads {threads}; allowed are such as 1000x784, and 1 or more")
    torch.set_num_threads(threads)
    print(breakeven.table([(s[0], s[1]) for s in shapes], rows, grid))
