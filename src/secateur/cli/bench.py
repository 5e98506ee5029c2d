"""``secateur bench``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.bench.config import BenchConfig
from secateur.cli.app import MEASURE
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core import names
from secateur.core.errors import SecateurError
from secateur.core.interruption import command_line
from secateur.core.network_options import Options
from secateur.core.settings import NETWORK, make_each, setting
from secateur.core.text import say

if TYPE_CHECKING:
    from secateur.bench.network import Subject

GRID = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def _check_layer(layer: str) -> None:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", layer):
        raise SecateurError(f"linear {layer}: allowed are outputs x inputs, such as 1000x784")


@dataclass(frozen=True, kw_only=True)
class BenchOptions(Options):
    """What is timed, and where the results go."""

    what: str = setting("", "a file written by sc.save or secateur prune, or any model that prune accepts; if omitted, "
                        "single layers are timed", argument="FILE|MODEL",
                        form=partial(names.check_network, also=names.OURS))
    model: str = setting("", "what builds the original network of FILE: pkg.module:factory, or any model that prune "
                         "accepts", shown="factory", group=NETWORK, form=names.check_network)
    sparsity: tuple[float, ...] = setting((), "for a model: fraction of its smallest weights to prune before timing; "
                                          "for layers: fractions of zeros (default: "
                                          f"{','.join(f'{s:g}' for s in GRID)})", least=0, greatest=1)
    layers: tuple[str, ...] = setting(("1000x784", "3072x768"), "linear layers to time if no FILE is given, as "
                                                                "outputs x inputs",
                                      shown="linear", form=_check_layer, some=True, repeats=True)
    data: str = setting("", "for a network: your samples, as prune takes them: what is timed, what ranges of int8 are "
                        "taken from and what its outputs are compared on (default: the example, or random inputs)",
                        form=names.check_data)
    out: str = setting("", "folder to write bench.json and the figure to")

    def subject(self) -> Subject:
        """The network that is timed.

        Raises:
            SecateurError: several sparsities, or settings that do not go together.
        """
        from secateur.bench.network import Subject

        if len(self.sparsity) > 1:
            raise SecateurError(f"sparsity {','.join(map(str, self.sparsity))}: for a network, allowed is one fraction "
                                "in [0, 1), such as 0.9")
        return Subject.parse(self.what, model=self.model, shape=self.shape, classes=self.classes, example=self.example,
                             weights=self.weights, sparsity=self.sparsity[0] if self.sparsity else None,
                             trust=self.trust, data=self.data)


@command("bench", BenchOptions, BenchConfig, panel=MEASURE, examples=(
    "secateur bench sparse.safetensors --batch 1,64", "secateur bench mlp --sparsity 0.9 --engine torch,sparse",
    "secateur bench --linear 300x784 --sparsity 0.5,0.9"))
def bench(settings: dict[str, Any]) -> None:
    """Time a network before and after its cut: in torch, compiled, and in ONNX Runtime and OpenVINO where installed.

    Without a file, time single layers and print from which sparsity they run faster than torch on this machine.
    """
    layers = settings.get("linear") or settings.get("layers") or ", ".join(BenchOptions.layers)
    start(f"bench: {settings.get('what') or f'layers {layers}'}",
          *(settings.get(name) for name in ("what", "factory", "weights", "data")))
    options, config = make_each((BenchOptions, BenchConfig), settings)
    if options.what:
        _time_network(options.subject(), config, Path(options.out) if options.out else None)
    else:
        _print_break_even(options, config)


def _time_network(subject: Subject, config: BenchConfig, out: Path | None) -> None:
    """Time one network, print the results, write them where a folder is given."""
    from secateur.bench.run import bench as run
    from secateur.core import paths
    from secateur.core.terminal import Terminal
    from secateur.report.bench import figure, table

    if out:
        figure.check_installed()
    console = Terminal(stderr=True, markup=False)
    with console.status("") as status:
        results = run(subject, config, lambda line: status.update(line) if console.is_terminal else console.print(line))
    table.show(results)
    if out:
        text = json.dumps({"command": command_line(), **results}, indent=1, allow_nan=False)
        for path in (paths.write(out / "bench.json", text + "\n"), *figure.write(results, out)):
            say(f"  {path}")


def _print_break_even(options: BenchOptions, config: BenchConfig) -> None:
    """Print the break-even of layers, a table a count of threads."""
    import torch

    from secateur.runtime import breakeven

    shapes = [(int(outputs), int(inputs)) for outputs, inputs in (layer.split("x") for layer in options.layers)]
    for count in config.threads:
        torch.set_num_threads(count)
        if len(config.threads) > 1:
            say(f"threads {count}")
        say(breakeven.table(shapes, list(config.batches), list(options.sparsity or GRID)))
