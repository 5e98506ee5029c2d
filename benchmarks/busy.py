"""Whether a speed-up that is stated beside busy processes is that of the quiet machine, or is marked as noisy.

    python benchmarks/busy.py

Three studies on ``digits`` are run while the machine is quiet; then the timings of each are taken again beside four
processes that are busy all the time, and beside four that are busy for a second of every three. In each state a cut by
``secateur prune`` is judged, too. Writes benchmarks/results/busy.json; exit code 1 where a stated speed-up lies further
than a factor of 1.5 from the quiet one. Start it on a quiet machine: about three minutes on two cores.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from secateur.core.machine import machine
from secateur.experiment.config import StudyConfig
from secateur.experiment.run import RunData, load_run
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.prune import cut_network
from secateur.experiment.store import FILE
from secateur.experiment.study import study
from secateur.measure.speed import Speed
from secateur.report import pruned
from secateur.report.conclusions import answer_rows
from secateur.report.gather import gather_results
from secateur.report.plots.speed import break_even_sentences
from secateur.report.results import Results
from secateur.report.sentences import explanation, headline

OUT = Path(__file__).parent / "results" / "busy.json"
STUDIES = (("lenet-300-100", ("weight", "neuron")), ("mlp", ("weight", "neuron")), ("lenet-300-100", ("4x1",)))
PROCESSES, FACTOR, MOST_NOISY = 4, 1.5, 0.25
STATES = {"quiet": "", "busy": "while True: pass",
          "bursts": "import time\nwhile True:\n if time.time() % 3 > 1: time.sleep(0.05)"}
RATIO = re.compile(r"([\d.,]+)×")
Ratios = dict[tuple[str, ...], Speed]


def config(model: str, granularity: tuple[str, ...]) -> StudyConfig:
    """A small study whose every cut is an answer, whatever it costs: what is tried is the speed-ups that are stated."""
    return StudyConfig(model=model, granularity=granularity, data="digits", sparsity=(0.0, 0.5, 0.9), seeds=1, epochs=1,
                       tolerance=1.0, best=False, latency_batches=(1, 64))


@contextmanager
def load(code: str) -> Iterator[None]:
    """Other processes run some code during the block; none where it is empty."""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(PROCESSES if code else 0)]
    try:
        time.sleep(1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def timed_anew(settings: StudyConfig, run: Path, folder: Path) -> RunData:
    """The timings of a finished run taken again, in a copy of its folder."""
    shutil.copytree(run, folder)
    with closing(sqlite3.connect(folder / FILE)) as db, db:
        db.execute("DELETE FROM rows WHERE kind = 'latency'")
    study(config=settings, out=folder)
    return load_run(folder)


def ratios(results: Results) -> Ratios:
    """Every ratio that the run can show, by method, sparsity, batch and way to run."""
    return {(curve.method.name, f"{cell.sparsity:g}", batch, way): speed for curve in results.methods(controls=True)
            for cell in curve.cells for batch, ways in cell.speeds.items() for way, speed in ways.items()}


def verdict(model: str, run: RunData, folder: Path) -> tuple[str, Ratios]:
    """What ``secateur prune`` says of a cut of the run's network, and the ratios behind it."""
    (weights,) = (run.folder / "networks").glob("*.safetensors")
    cut = cut_network(CutConfig(model=model, data="digits", weights=str(weights), sparsity=0.9, recovery=("none",),
                                latency_batches=(1, 64), out=str(folder / f"{time.time()}.safetensors")))
    found = {("prune", "0.9", batch, "sparse"): speed for batch, (_, speed) in cut.comparison.latency.items()}
    return pruned.verdict(cut), found


def facts(state: str, texts: list[str], found: Ratios, quiet: Ratios) -> dict[str, Any]:
    """How far the ratios are from the quiet ones: those that may be stated, and those that are marked."""
    away = {key: max(speed.ratio / quiet[key].ratio, quiet[key].ratio / speed.ratio) for key, speed in found.items()
            if not quiet[key].noise}
    noisy = [key for key, speed in found.items() if speed.noise]
    stated = [key for key in found if key not in noisy]
    # What a text prints is one of the ratios that are not marked, or a quartile of one.
    shown = {text for key in stated for value in (found[key].ratio, found[key].low, found[key].high)
             for text in RATIO.findall(Speed(1.0, value, value, value).shown)}
    return {"state": state, "texts": texts, "timings": len(found), "noisy": len(noisy),
            "farthest_stated": max((away[key] for key in stated if key in away), default=None),
            "farthest_marked": max((away[key] for key in noisy if key in away), default=None),
            "strange": [text for line in texts for text in RATIO.findall(line) if text not in shown]}


def measure(settings: StudyConfig, folder: Path) -> Iterator[dict[str, Any]]:
    """One study and one cut in every state."""
    study(config=settings, out=folder / "quiet")
    quiet: Ratios = {}
    for state, code in STATES.items():
        with load(code):
            begin = time.perf_counter()
            run = timed_anew(settings, folder / "quiet", folder / state) if code else load_run(folder / "quiet")
            told, of_cut = verdict(settings.model, run, folder)
        results = gather_results(run)
        found = ratios(results) | of_cut
        quiet = quiet or found
        texts = [headline(results), *explanation(results), *(line for _, line in break_even_sentences(results)), told]
        assert all(speed in found.values() for row in answer_rows(results) for _, speed in row.speeds)
        yield {"model": settings.model, "granularity": settings.granularity, "seconds": time.perf_counter() - begin,
               **facts(state, texts, found, quiet)}


def main() -> None:
    begin, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as scratch:
        for number, chosen in enumerate(STUDIES):
            for row in measure(config(*chosen), Path(scratch) / str(number)):
                rows.append(row)
                print(f"{row['model']}, {', '.join(row['granularity'])}, {row['state']}: "
                      f"{row['noisy']} of {row['timings']} ratios marked, stated ones off by "
                      f"{row['farthest_stated'] or 1:.2f}×, marked ones by {row['farthest_marked'] or 1:.2f}×")
    noisy, timings = (sum(row[name] for row in rows if row["state"] == "quiet") for name in ("noisy", "timings"))
    if noisy > MOST_NOISY * timings:
        sys.exit(f"the machine is not quiet: {noisy} of {timings} timings without a load are noisy, allowed "
                 f"{MOST_NOISY:.0%}")
    holds = all((row["farthest_stated"] or 1) <= FACTOR and not row["strange"] for row in rows)
    result = {"machine": machine(), "processes": PROCESSES, "factor": FACTOR, "holds": holds,
              "seconds": time.perf_counter() - begin, "rows": rows}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{result['seconds']:.0f} s; every stated speed-up within a factor of {FACTOR}: {'yes' if holds else 'NO'}")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
