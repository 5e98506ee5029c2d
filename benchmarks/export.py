"""Two compressions together: networks cut of weights and of neurons, as ONNX in float32 and in int8, on MNIST.

    python benchmarks/export.py [--seconds 0.2] [--threads 1]

Takes the trained networks of benchmarks/accuracy.py (``~/.cache/secateur/accuracy``; trained where they are not
there), cuts each, exports it, and writes accuracy on the test part, bytes, milliseconds and the time of the export to
benchmarks/results/export.json. Every file of a network runs in every round, in changing order, beside the cut network
in torch and, for zeroed weights, compiled by secateur; ``--seconds`` is for each network and batch.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accuracy_methods import SAMPLES, Case
from torch import Tensor, nn

import secateur as sc
from secateur import runtime
from secateur.core.machine import machine
from secateur.data.calibration import calibration
from secateur.files.exporters import export_checked
from secateur.measure.accuracy import evaluate
from secateur.measure.latency import interleave, summary
from secateur.recovery.pipeline import recover

HERE = Path(__file__).parent
BATCHES = (1, 64)
CUTS = {"uncut": None, "weights": ("weight", "magnitude", 0.9), "neurons": ("neuron", "elimination", 0.5)}
MODELS = ("mlp", "lenet5")
ROWS = 1000


def networks(case: Case) -> Iterator[tuple[str, float, nn.Module]]:
    """The trained network as it is, and cut in both ways with recovery ``best`` from unlabelled samples."""
    for name, how in CUTS.items():
        if how is None:
            yield name, 0.0, case.network
            continue
        granularity, criterion, sparsity = how
        plan = case.selection(granularity, criterion).plan(sparsity)
        cut = sc.apply(case.network, plan)
        recovered = recover(case.network, cut, plan, "best", calibration(case.inputs), case.seed)
        yield name, sparsity, recovered.network.eval()


def accuracy(run: Callable[[list[Tensor]], list[Tensor]], case: Case) -> float:
    """The fraction of the test part that a file answers rightly."""
    parts = zip(case.source.test_x.split(ROWS), case.source.test_y.split(ROWS), strict=True)
    return sum(int((run([x])[0].argmax(1) == y).sum()) for x, y in parts) / len(case.source.test_y)


def measured(case: Case, name: str, network: nn.Module, int8: bool, folder: Path) -> tuple[dict[str, Any], Any]:
    """One file: what it holds and costs to make; and what runs it."""
    begin = time.process_time()
    done = export_checked(network, folder / f"{name}{'-int8' * int8}.onnx", case.inputs[:128], int8=int8)
    spent = time.process_time() - begin
    found = done.checked
    assert found is not None
    return {"model": case.model, "cut": name, "type": "int8" if int8 else "float32", "accuracy": accuracy(
        done.run, case), "bytes": done.bytes, "packed": len(zlib.compress(done.path.read_bytes(), 9)),
        "error": found.error, "distance": found.distance, "same": found.same, "export_cpu_s": spent}, done.run


def case_rows(model: str, seconds: float) -> list[dict[str, Any]]:
    """All files of one network, timed against each other."""
    case, rows, calls = Case(model, "mnist", 0), list[dict[str, Any]](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        for name, sparsity, network in networks(case):
            reached = evaluate(network, case.source.test_x, case.source.test_y).accuracy
            for int8 in (False, True):
                row, run = measured(case, name, network, int8, Path(folder))
                rows.append({**row, "sparsity": sparsity, "torch_accuracy": reached, "ms": {}})
                calls[f"{name} {row['type']}"] = lambda x, run=run: run([x])
            calls[f"{name} torch"] = network
            if name == "weights":
                calls["weights secateur"] = runtime.compile(network, case.source.test_x[:1])
    others = {name: dict[str, float]() for name in calls if name.endswith(("torch", "secateur"))}
    for batch in BATCHES:
        x = case.source.test_x[:batch].contiguous()
        with torch.inference_mode():
            times = interleave({n: (lambda call=call, x=x: call(x)) for n, call in calls.items()}, seconds)
        found = summary(times, "uncut float32")
        for row in rows:
            row["ms"][str(batch)] = found[f"{row['cut']} {row['type']}"]["median"] * 1e3
        for name, held in others.items():
            held[str(batch)] = found[name]["median"] * 1e3
    return [*rows, *({"model": model, "cut": n.split()[0], "type": n.split()[1], "ms": ms} for n, ms in others.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    rows = [row for model in MODELS for row in case_rows(model, options.seconds)]
    import onnxruntime

    result = {"machine": machine(), "onnxruntime": onnxruntime.__version__, "threads": options.threads, "load": load,
              "seconds": options.seconds, "samples": SAMPLES, "rows": rows}
    (HERE / "results" / "export.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
