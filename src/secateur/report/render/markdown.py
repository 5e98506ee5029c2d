"""The summary in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secateur.report import explanation
from secateur.report.conclusions import sentence
from secateur.report.plots import sensitivity, speed
from secateur.report.plots.base import Table
from secateur.report.render import headline, tables
from secateur.report.results import Digest

SHOWN = ("accuracy", "loss", "pareto", "speedup", "distributions-by-mean", "large-weights", "sensitivity", "training")


def render(digest: Digest, figures: Sequence[Path]) -> str:
    """The whole summary; ``figures`` are the files that lie in ``figures/`` beside it."""
    config, there = digest.run.config, {f.stem for f in figures}
    pictures = [f"![{name}](figures/{name}.png)" for name in SHOWN if name in there]
    paid = speed.break_even_words(digest) or ["Latency was not measured in this run."]
    parts = [f"# {config.get('model')} on {config.get('data')}", sentence(digest), *headline.refusals(digest),
             *pictures[:2],
             "## Does it pay?", "\n".join(f"- {t}" for t in paid),
             *[p for p in pictures if "pareto" in p or "speedup" in p],
             "## Why", *explanation.paragraphs(digest),
             *[p for p in pictures if "distributions" in p or "large" in p],
             "## Results", "Means over the seeds; points lost with 95% intervals.",
             tables.markdown(tables.results(digest)),
             *scanned(digest, pictures), *layers(digest), "## Training", training(digest),
             *[p for p in pictures if "training" in p],
             "## Settings", tables.markdown(tables.settings(config)),
             "## Machine", tables.markdown(tables.settings(tables.machine(digest))),
             "## How to do it again", f"```\n{digest.run.command}\n```"]
    return "\n\n".join(parts) + "\n"


def scanned(digest: Digest, pictures: Sequence[str]) -> list[str]:
    """The sensitivity scan, where there was one."""
    if not digest.run.scans:
        return []
    return ["## Sensitivity", sensitivity.sentence(digest), *[p for p in pictures if "sensitivity" in p],
            "Each layer cut by itself: divergence of the outputs in nats.", tables.markdown(sensitivity.table(digest))]


def layers(digest: Digest) -> list[str]:
    """The layers, where their anatomy was recorded."""
    known = any(a.get("layers") for a in digest.run.anatomy)
    return ["## Layers", f"{tables.ANATOMY}.", tables.markdown(tables.anatomy(digest))] if known else []


def training(digest: Digest) -> str:
    """The networks before the cut, one row a seed."""
    rows = tuple((str(t["seed"]), f"{t['accuracy']:.4f}", f"{t['loss']:.4g}", f"{t['parameters']:,}",
                  str(len(t.get("history") or ()))) for t in digest.run.trained)
    head = ("seed", "test accuracy", "test loss", "parameters", "epochs trained here")
    return tables.markdown(Table(head, rows, frozenset(range(5))))
