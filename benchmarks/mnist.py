"""What the main study found, as JSON for the tables: run ``secateur study`` first.

    python benchmarks/mnist.py runs/mlp-mnist

writes benchmarks/results/mnist.json and copies the figure and the report that README and docs show.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import secateur as sc
from secateur.experiment.row import Row
from secateur.measure.speed import mean_speed, speed_of
from secateur.report.gather import gather_results
from secateur.report.results import Results
from secateur.report.sentences import explanation, headline

HERE = Path(__file__).parent


def main() -> None:
    folder = Path(sys.argv[1])
    run = sc.load_run(folder)
    result = {"machine": run.machine, "command": run.command, "answer": answer(gather_results(run)),
              "dense": [t["accuracy"] for t in run.trained], "rows": list(rows(run))}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "mnist.json").write_text(json.dumps(result, indent=1) + "\n")
    for source, kept in (("figures/accuracy.png", "images/accuracy.png"), ("report.html", "report/mnist.html")):
        target = HERE.parent / "docs" / kept
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / source, target)


def answer(results: Results) -> str:
    """What the report says first: its headline, then what stands behind it."""
    return " ".join([f"**{headline(results)}**", *explanation(results)])


def rows(run: Any) -> Any:
    """The means over the seeds of every point in float32."""
    names, whole = ("granularity", "criterion", "recovery", "sparsity"), [p for p in run.points if p.bits == 32]
    for kind in sorted({tuple(p[n] for n in names) for p in whole}, reverse=True):
        points = [p for p in whole if tuple(p[n] for n in names) == kind]
        accuracies = [p["accuracy"] for p in points]
        yield {**dict(zip(names, kind, strict=True)), "control": points[0]["control"],
               "samples_seen": points[0]["samples_seen"],
               "accuracy": statistics.mean(accuracies), "least": min(accuracies), "most": max(accuracies),
               "bytes": points[0]["bytes"], "bytes_sparse": statistics.mean(p["bytes_sparse"] for p in points),
               "engine": points[0]["engine_used"], "speedup": speedups(points)}


def speedups(points: list[Row]) -> dict[str, float | None]:
    """The speed-up over the seeds that were timed, at each batch size: sparse kernels, or the smaller network.

    None stands for a noisy timing, which no table may show.
    """
    timed = [p for p in points if p.latency]
    fast = "sparse" if points[0]["granularity"] == "weight" else "small"
    found = {batch: mean_speed([speed_of(p.timing, batch, fast) for p in timed], 1.0)
             for batch in (timed[0].timing["latency"] if timed else ())}
    return {batch: None if speed.noise else speed.ratio for batch, speed in found.items()}


if __name__ == "__main__":
    main()
