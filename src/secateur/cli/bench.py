"""``secateur bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.app import Debug, app
from secateur.core.errors import SecateurError
from secateur.core.interruption import command_line

GRID = "0,0.3,0.5,0.7,0.8,0.9,0.95"


@app.command()
def bench(
    what: Annotated[str, typer.Argument(metavar="FILE|MODEL", help="a file of sc.save or secateur prune, or any "
                                        "network that prune takes; without it, layers are timed")] = "",
    model: Annotated[str, typer.Option(help="FILE's network before the cut, as prune takes it")] = "",
    shape: Annotated[str, typer.Option(help="the shape of one input, without the batch: random inputs; for a network "
                                       "of sentences, how many tokens each has")] = "",
    classes: Annotated[int | None, typer.Option(help="what a factory that asks for classes is given (default: 10)",
                                                show_default=False)] = None,
    example: Annotated[str, typer.Option(help="pkg.module:name of the inputs, or of a function that makes them: a "
                                         "tensor, a tuple or a dict, samples along the first axis")] = "",
    weights: Annotated[str, typer.Option(help="trained weights of the model (.safetensors)")] = "",
    batch: Annotated[str, typer.Option("--batch", "--batches", help="samples at once")] = "1,16,64",
    threads: Annotated[str, typer.Option(help="threads of every engine")] = "1",
    seconds: Annotated[float, typer.Option(help="of timing, for each engine at each batch")] = 2.0,
    engines: Annotated[str, typer.Option(help="those to time, of dense, zeroed, sparse, onnxruntime, openvino; "
                                         "default: all that are installed")] = "",
    out: Annotated[Path | None, typer.Option(help="a folder for bench.json and the figure")] = None,
    sparsity: Annotated[str, typer.Option(help="of a model: the fraction of its smallest weights that is cut first; "
                                          f"of layers: fractions that are zero (default: {GRID})")] = "",
    layers: Annotated[str, typer.Option(help="without FILE: linear layers as outputs x inputs")] = "1000x784,3072x768",
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Time a pruned network: dense, with its zeros, compiled, and in ONNX Runtime and OpenVINO where installed.

    Without a file, print from which sparsity on zeros pay on this machine: times faster than torch, per layer.
    """
    counts = numbers("batch", batch), numbers("threads", threads)
    if not what:
        break_even(layers, sparsity or GRID, *counts)
        return
    from secateur.bench import Settings, Subject

    subject = Subject.named(what, model=model, shape=numbers("shape", shape) if shape else (), classes=classes or 0,
                            example=example, weights=weights, sparsity=fraction(sparsity))
    networks(subject, Settings(*counts, seconds, tuple(n for n in engines.split(",") if n)), out)


def networks(subject: Any, settings: Any, out: Path | None) -> None:
    """Time one network, print the results, write them where a folder is given."""
    from rich.console import Console

    from secateur.bench import bench as run
    from secateur.core import paths
    from secateur.report.bench import figure, table

    if out:
        figure.check_installed()
    told = Console(stderr=True, markup=False)
    with told.status("") as status:
        found = run(subject, settings, lambda line: status.update(line) if told.is_terminal else told.print(line))
    table.show(found)
    if out:
        text = json.dumps({"command": command_line(), **found}, indent=1, allow_nan=False)
        for path in (paths.write(out / "bench.json", text + "\n"), *figure.write(found, out)):
            print(f"  {path}")


def break_even(layers: str, sparsity: str, batches: tuple[int, ...], threads: tuple[int, ...]) -> None:
    """Print the break-even of layers, a table a count of threads."""
    import torch

    from secateur.runtime import breakeven

    try:
        shapes = [tuple(int(n) for n in layer.split("x")) for layer in layers.split(",")]
        grid = [float(s) for s in sparsity.split(",")]
    except ValueError as error:
        raise SecateurError(f"bench: got --layers {layers} --sparsity {sparsity}; "
                            "allowed are such as --layers 1000x784 --sparsity 0.5,0.9") from error
    if any(len(shape) != 2 for shape in shapes):
        raise SecateurError(f"bench: layers {layers}; allowed are such as 1000x784")
    for count in threads:
        torch.set_num_threads(count)
        if len(threads) > 1:
            print(f"threads {count}")
        print(breakeven.table([(s[0], s[1]) for s in shapes], list(batches), grid))


def numbers(flag: str, text: str) -> tuple[int, ...]:
    """The whole numbers from 1 on of a flag, with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) for part in parts):
        raise SecateurError(f"--{flag} {text}: allowed are whole numbers from 1 on with commas, such as 1,16")
    return tuple(map(int, parts))


def fraction(text: str) -> float | None:
    """The sparsity of a network; None where none is given."""
    try:
        return float(text) if text else None
    except ValueError as error:
        raise SecateurError(f"--sparsity {text}: for a network, allowed is one fraction in [0, 1), such as 0.9"
                            ) from error
