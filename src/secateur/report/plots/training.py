"""The training curves."""

from __future__ import annotations

from typing import Any

from secateur.core import text as words
from secateur.report.plots.base import Axis, Board, Plot, Series
from secateur.report.results import Results

METRICS = {"loss": Axis("training loss (cross-entropy, nats)"), "accuracy": Axis("training accuracy", percent=True)}
_DASHES, _SYMBOLS = ("solid", "dash", "dot"), ("circle", "square", "triangle")
_MOST_MARKS = 15
"""Epochs up to which each has a marker; more would run into a thick line."""


def histories(results: Results) -> list[dict[str, Any]]:
    """The seeds that were trained here."""
    return [t for t in results.run.trained if t.get("history")]


def board(results: Results) -> Board:
    """Loss and accuracy of every epoch."""
    return Board("training", (), tuple({"": plot(results, m)} for m in METRICS), "Means over each epoch, taken while "
                 "the weights move; one line a seed.")


def plot(results: Results, metric: str) -> Plot:
    """One metric against the epoch, one line a seed."""
    lines = tuple(_line(t, metric, i) for i, t in enumerate(histories(results)))
    return Plot(f"Training {metric} of every epoch", Axis("epoch"), METRICS[metric], lines)


def _line(network: dict[str, Any], metric: str, index: int) -> Series:
    """One seed's curve."""
    history, name = network["history"], f"seed {network['seed']}"
    text = tuple(f"{name}, epoch {h['epoch']}\naccuracy {words.percent(h['accuracy'], 2)}, loss {h['loss']:.4g}\n"
                 f"{h['seconds']:.1f} s" for h in history)
    return Series(name, "ink" if index % 2 == 0 else "soft", tuple(float(h["epoch"]) for h in history),
                  tuple(h[metric] for h in history), dash=_DASHES[index % 3],
                  symbol=_SYMBOLS[index % 3] if len(history) <= _MOST_MARKS else "", text=text)
