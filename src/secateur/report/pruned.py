"""What one cut cost and bought, in sentences."""

from __future__ import annotations

from secateur.core import text
from secateur.experiment.single.output import bytes_of
from secateur.experiment.single.prune import CutNetwork
from secateur.measure.speed import PACES, in_words, pace

GUESSING = 1.5


def verdict(done: CutNetwork) -> str:
    """Whether the cut pays on this machine, in a sentence."""
    size = f"stored in {text.percent(done.after.bytes / done.before.bytes)} of the bytes"
    groups: dict[str, list[str]] = {}
    for batch, (_, speed) in done.comparison.latency.items():
        groups.setdefault(pace(speed.ratio), []).append(f"{in_words(speed)} at batch {batch}")
    if not groups:
        return f"The network is {size}; its speed was not measured."
    how = f", compiled on engine {done.timing['engine_used']}" if done.timing["engine_used"] else ""
    paces = text.listed([f"{PACES[p]} ({text.listed(at)})" for p, at in groups.items()], "but")
    pays = {frozenset({"faster"}): "The cut pays", frozenset({"even"}): "The cut buys no speed"}.get(
        frozenset(groups), "The cut pays in part" if "faster" in groups else "The cut does not pay")
    joint = "but" if "faster" in groups and done.after.bytes > done.before.bytes else "and"
    return f"{pays} on this machine: the network is {paces}{how}, {joint} {size}."


def remarks(done: CutNetwork) -> list[str]:
    """What a reader has to know besides."""
    epochs = "1 epoch" if done.trained == 1 else f"{done.trained} epochs"
    made = [f"trained here for {epochs} before the cut"] if done.trained else []
    kind = "training samples" if done.chance else "samples"
    seen = [f"{text.count(done.samples)} {kind} were shown"] if done.samples else []
    accuracy, chance = done.before.accuracy, done.chance
    guessing = accuracy is not None and chance is not None and accuracy < GUESSING * chance
    guess = ["before the cut the network is about as good as guessing: was it trained?"]
    return [*made, *seen, *(guess if guessing else []), *done.notes]


def how_to_load(done: CutNetwork) -> str:
    """Where the file is, how large it is with all that it tells, and how to get the network out of it."""
    size = text.scaled(bytes_of(done.path), "B")
    return f"{done.path}, {size} with all that it tells, read back and compared: {done.again}"
