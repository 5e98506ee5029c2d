"""``secateur diff``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.app import LOOK
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core.names import check_read


@command("diff", panel=LOOK, examples=("secateur diff sparse.safetensors small.safetensors",))
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="a file written by sc.save or secateur prune")],
    b: Annotated[Path, typer.Argument(metavar="B", help="the file to compare it with")],
    as_json: Annotated[bool, typer.Option("--json", help="print the comparison as JSON")] = False,
) -> None:
    """Compare two pruned networks: tensors, zeros and neurons in common, settings, bytes.

    The exit code is 0 where both are the same network, 1 where they differ, 2 where a file cannot be read.
    """
    for path in (a, b):
        check_read(str(path))
    start("" if as_json else f"diff: {a} and {b}", a, b)
    from secateur.files.inspect import compare, show_diff

    differences = compare(a, b)
    if as_json:
        print(json.dumps(differences, indent=1, allow_nan=False))
    else:
        show_diff.show(differences)
    if not differences["same"]:
        raise typer.Exit(1)
