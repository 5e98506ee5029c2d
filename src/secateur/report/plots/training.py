"""The training curves."""

from __future__ import annotations

from typing import Any

from secateur.core import text as words
from secateur.report.plots.base import Axis, Board, Plot, Series
from secateur.report.results import Digest

TITLES = {"accuracy": Axis("training accuracy", percent=True), "loss": Axis("training loss (cross-entropy, nats)")}
DASHES, SYMBOLS = ("solid", "dash", "dot"), ("circle", "square", "triangle")

MOST_MARKS = 15


def histories(digest: Digest) -> list[dict[str, Any]]:
    """The seeds that were trained here."""
    return [t for t in digest.run.trained if t.get("history")]


def board(digest: Digest) -> Board:
    """Loss and accuracy of every epoch."""
    return Board("training", (), tuple({"": plot(digest, m)} for m in ("loss", "accuracy")), "Means over each epoch, "
                 "taken while the weights move; one line a seed.")


def plot(digest: Digest, metric: str) -> Plot:
    """One metric against the epoch, one line a seed."""
    lines = tuple(line(t, metric, i) for i, t in enumerate(histories(digest)))
    return Plot(f"training-{metric}", f"Training {metric} of every epoch", Axis("epoch"), TITLES[metric], lines)


def line(trained: dict[str, Any], metric: str, index: int) -> Series:
    """One seed's curve."""
    history = trained["history"]
    name = f"seed {trained['seed']}"
    text = tuple(f"{name}, epoch {h['epoch']}\naccuracy {words.percent(h['accuracy'], 2)}, loss {h['loss']:.4g}\n"
                 f"{h['seconds']:.1f} s" for h in history)
    return Series(name, "ink" if index % 2 == 0 else "soft", tuple(float(h["epoch"]) for h in history),
                  tuple(h[metric] for h in history), dash=DASHES[index % 3],
                  symbol=SYMBOLS[index % 3] if len(history) <= MOST_MARKS else "", text=text)
