"""The command line: parse, call one public function, print."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.config import RunOptions, StudyConfig, configure, read_toml
from secateur.errors import SecateurError

app = typer.Typer(name="secateur", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="How much of a neural network can you cut, and what does the cut buy on your own machine?")
INTERRUPTED = 130
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting and option of a study; those that are given arrive as ``settings``."""
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
           for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
    known = [*fields(StudyConfig), *fields(RunOptions)]

    def wrapped(**values: Any) -> None:
        settings = {f.name: v for f in known if (v := values.pop(f.name)) is not None}
        command(settings=settings, **values)

    wrapped.__signature__ = inspect.Signature([*map(_flag, known), *own])  # type: ignore[attr-defined]
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped


def _flag(setting: Field[Any]) -> inspect.Parameter:
    """The command-line flag of a setting: a switch, or text that is read as the setting's type later."""
    switch = isinstance(setting.default, bool)
    option = (typer.Option(f"--{setting.name}", help=setting.metadata["help"], show_default=False) if switch else
              typer.Option(help=_help(setting), show_default=False, metavar=_metavar(setting.default)))
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                             annotation=Annotated[bool | None if switch else str | None, option])


def _help(setting: Field[Any]) -> str:
    """What a setting is, with its default."""
    values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
    shown = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
    return f"{setting.metadata['help']} (default: {shown or 'none'})"


def _metavar(default: Any) -> str:
    return {tuple: "A,B,…", int: "N", float: "X", str: "TEXT"}[type(default)]


@app.command()
@with_settings
def study(
    settings: dict[str, Any],
    config: Annotated[Path | None, typer.Option(help="TOML file with any of the settings; flags win over it")] = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Train a network, cut it at every sparsity, measure what the cut costs and buys, and report it.

    What the run's folder holds already is not computed again.
    """
    from secateur import report
    from secateur.console import Live, tell
    from secateur.study import study as run_study

    chosen, options = configure(read_toml(config) if config else {}, settings)
    report.check_installed(parquet=options.parquet)
    with Live() as live:
        run = run_study(config=chosen, out=options.out or None, jobs=options.jobs, backend=options.backend,
                        address=options.address, progress=live, command=command_line())
    tell(report.write(run, csv=options.csv, parquet=options.parquet, anew=False))


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="the folder of a run")],
    csv: Annotated[bool, typer.Option("--csv", help="also write rows.csv")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="also write rows.parquet")] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Write the report of a run again from its rows."""
    from secateur import report
    from secateur.console import tell
    from secateur.load import load_run

    report.check_installed(parquet=parquet)
    loaded = load_run(run)
    tell(report.write(loaded, csv=csv, parquet=parquet))


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="a built-in network or pkg.module:factory")],
    shape: Annotated[str, typer.Option(help="the shape of one input, without the batch")] = "3,32,32",
    classes: Annotated[int, typer.Option(help="how many outputs the network has for a sample: for a built-in network, "
                                         "or a factory that asks for classes or num_classes")] = 10,
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

    With a sparsity, or a granularity such as 2:4 that has one, also what every layer loses and what that saves.
    """
    from secateur import data as datasets
    from secateur import models
    from secateur.overview import dry_run, targets
    from secateur.prune import plan

    loaded = datasets.resolve(data) if data else None
    sides = loaded.shape if loaded else _sides(shape)
    network = models.made(model, sides, loaded.classes if loaded else classes).eval()
    if weights:
        models.load_weights(network, Path(weights))
    inputs = models.example_of(example) if example else _random(sides)
    structure = _told(lambda: targets(network, inputs))
    print(structure)
    if sparsity is not None or ":" in granularity:
        chosen = StudyConfig.make({"layers": layers}).layer_settings
        made = plan(network, sparsity, granularity, scope=scope, example=inputs, skip=structure.outputs, layers=chosen,
                    least=least, most=most, data=loaded and loaded.train_x, budget=budget or None)
        print(made)
        print(dry_run(network, made, inputs))


def _sides(shape: str) -> tuple[int, ...]:
    """The numbers of ``--shape``."""
    if not all(part.strip().isdigit() for part in shape.split(",")):
        raise SecateurError(f"--shape {shape}: allowed are whole numbers with commas, such as 3,32,32")
    return tuple(int(part) for part in shape.split(","))


def _random(sides: tuple[int, ...]) -> Any:
    """Two random samples."""
    import torch

    return torch.rand(2, *sides)


def _told(look: Callable[[], Any]) -> Any:
    """What a look at the network gives; where the example does not fit it, the error says which flags give another."""
    try:
        return look()
    except SecateurError as error:
        if "the example does not run" in str(error):
            raise SecateurError(f"{error}; --shape gives another, --example pkg.module:name any inputs") from error
        raise


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


@app.command("list")
def list_command() -> None:
    """Print every model, data set, granularity, criterion and scope, with the file that holds it."""
    from secateur.console import print_registry

    print_registry()


def version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        from secateur.version import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def root(show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True,
                                            help="print the version")] = False) -> None:
    """How much of a neural network can you cut, and what does the cut buy on your own machine?"""


def command_line() -> str:
    """What was typed, so that a reader can run it again."""
    return shlex.join(["secateur", *sys.argv[1:]])


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, an interruption exit code 130."""
    sys.path.insert(0, "")
    if "--debug" in sys.argv:
        app()
        return
    try:
        code = typer.main.get_command(app).main(standalone_mode=False)
        code = interrupted() if code == INTERRUPTED else code
    except KeyboardInterrupt:
        code = interrupted()
    except (SecateurError, ImportError) as error:
        code = fail(str(error), 2)
    except OSError as error:
        code = fail(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except Exception as error:
        code = fail_at_work(error)
    sys.exit(code)


def fail(message: str, code: int) -> int:
    """Print one line on standard error."""
    print(f"secateur: {' '.join(message.split())}", file=sys.stderr)
    return code


def interrupted() -> int:
    """Say that nothing is lost and how to go on."""
    return fail("interrupted; every finished row is kept. To go on, run again: " + command_line(), INTERRUPTED)


def fail_at_work(error: Exception) -> int:
    """A mistake in the command line as the parser words it; anything else is ours, in one line, exit code 1."""
    if hasattr(error, "format_message"):
        words = error.format_message()
        return fail(f"{words} See: secateur --help", 2) if words else 2
    return fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)
