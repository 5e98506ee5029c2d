"""How fast eight bits are, on one thread: networks uncut in every engine, and our cut ones in those that run them.

    python benchmarks/int8_speed.py [--network NAME ...] [--seconds 2] [--again]

Networks and their cuts are those of ``int8.py``, which keeps them. All ways of a network are timed in turns at each
batch size. Each engine's outputs are judged like the network's: accuracy, or agreement with the uncut network. Rows are
kept in benchmarks/results/int8_speed.json; run this on a quiet machine.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import int8
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.bench.network import outputs_of
from secateur.bench.ways import convert_ways, fastest_ways
from secateur.core import registry
from secateur.core.machine import machine
from secateur.engines.base import Engine
from secateur.measure.latency import interleave

OUT = Path(__file__).parent / "results" / "int8_speed.json"
UNCUT = ("torch", "torch-bf16", "onnxruntime", "openvino", "openvino-default", "onnxruntime-int8", "openvino-int8")
BATCHES = (1, 16, 64)
CUTS = {"mlp": (("weight", 0.9), ("neuron", 0.5)), "lenet5": (("weight", 0.9), ("neuron", 0.5)),
        "O-Net": (("neuron", 0.3), ("neuron", 0.5)), "Silero VAD": (("weight", 0.8),),
        "EfficientNet-Lite0": (("weight", 0.5),)}
RIVAL = "uncut, onnxruntime-int8"
Calls = dict[int, Callable[[tuple[Tensor, ...]], Any]]


class Judged(nn.Module):
    """An engine's call as a network, so that what judges networks judges it."""

    def __init__(self, call: Callable[[tuple[Tensor, ...]], Any]):
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Any:
        """The outputs, a tensor or a tuple."""
        made = [torch.as_tensor(one) for one in outputs_of(self.call((x,)))]
        return made[0] if len(made) == 1 else tuple(made)


def opened(engine: Engine, network: nn.Module, inputs: dict[int, tuple[Tensor, ...]], samples: Tensor,
           folder: Path) -> tuple[Calls, dict[int, str]]:
    """The call of an engine at each batch size, in the fastest of its ways, and which these are."""
    files, errors = convert_ways(engine, network, (samples,), folder)
    if not files:
        raise RuntimeError("; ".join(errors))

    @functools.cache
    def open_way(way: str) -> Any:
        return engine.prepare(files[way] or copy.deepcopy(network), inputs[BATCHES[-1]], 1, way)

    with torch.inference_mode():
        chosen = fastest_ways(open_way, files, inputs)
        return {batch: open_way(way) for batch, way in chosen.items()}, chosen


def networks_of(name: str, keep: Path) -> dict[str, tuple[nn.Module, str]]:
    """Our networks with the engine that runs each."""
    one = int8.subject(name, 0)
    found = {"uncut, our int8": (sc.quantize(one.network, one.shown), "onnxruntime")}
    for granularity, sparsity in CUTS[name]:
        small = int8.cut(name, 0, granularity, sparsity, keep)
        text = f"{sparsity:.0%} {'neurons' if granularity == 'neuron' else granularity}"
        found[f"{text}, float32"] = (small, "onnxruntime" if granularity == "neuron" else "sparse")
        found[f"{text}, our int8"] = (sc.quantize(small, one.shown), "onnxruntime")
    return found


def measured(name: str, keep: Path, seconds: float) -> dict[str, Any]:
    """All ways of one network."""
    one = int8.subject(name, 0)
    shown = one.shown if isinstance(one.shown, Tensor) else torch.cat(list(one.shown))
    inputs = {batch: (shown[:batch],) for batch in BATCHES}
    todo = {f"uncut, {engine}": (one.network, engine) for engine in UNCUT} | networks_of(name, keep)
    ways, row = dict[str, Calls](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as scratch:
        for number, (what, (network, item)) in enumerate(todo.items()):
            engine: Engine = registry.get("engines", item)()
            if reasons := engine.refusals():
                print(name, what, *reasons, flush=True)
                continue
            try:
                ways[what], chosen = opened(engine, network, inputs, shown[:256], Path(scratch) / str(number))
                with torch.inference_mode():
                    row[what] = {**one.judge(Judged(ways[what][BATCHES[-1]])), "ways": {str(b): w for b, w in
                                                                                     chosen.items()}, "ms": {}}
            except Exception as error:
                print(name, what, type(error).__name__, str(error)[:200], flush=True)
                ways.pop(what, None)
        for batch in BATCHES:
            with torch.inference_mode():
                calls = {what: partial(each[batch], inputs[batch]) for what, each in ways.items()}
                times = interleave(calls, seconds)
            for what, found in times.items():
                low, middle, high = torch.tensor(list(found)).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
                row[what]["ms"][str(batch)] = {"low": 1e3 * low, "median": 1e3 * middle, "high": 1e3 * high}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", choices=list(CUTS), default=list(CUTS))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--keep", type=Path, default=int8.KEEP)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(OUT.read_text())["networks"] if OUT.exists() else {}
    for name in options.network:
        if name in found and not options.again:
            continue
        load = os.getloadavg()[0]
        found[name] = {"load_before": load, "ways": measured(name, options.keep, options.seconds)}
        OUT.write_text(json.dumps({"machine": machine(), "threads": 1, "networks": found}, indent=1) + "\n")
        for what, row in found[name]["ways"].items():
            print(name, what, {k: round(v, 4) for k, v in row.items() if isinstance(v, float)},
                  {b: round(v["median"], 3) for b, v in row["ms"].items()}, row["ways"], flush=True)


if __name__ == "__main__":
    main()
