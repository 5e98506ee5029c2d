"""What one cut cost and bought, in sentences."""

from __future__ import annotations

from secateur.core import text
from secateur.core.tensors import dtype_name
from secateur.experiment.single.output import bytes_of
from secateur.experiment.single.prune import CutNetwork
from secateur.measure.size import tensors
from secateur.measure.speed import PACES, in_words

_OTHERS = ("speeds are those of {0}, against the original in torch; int8 or bfloat16 may be faster without a cut: "
           "secateur bench compares with both")
_GUESSING = 1.5
"""A network whose accuracy is below so many times that of guessing is hardly trained."""


def verdict(cut: CutNetwork) -> str:
    """Whether the cut pays on this machine, in a sentence."""
    size = f"stored in {text.percent(cut.after.bytes / cut.before.bytes)} of the bytes"
    groups: dict[str, list[str]] = {}
    for batch, (_, speed) in cut.comparison.latency.items():
        groups.setdefault(speed.pace, []).append(f"{in_words(speed)} at batch {batch}")
    noisy = [batch for batch, (_, speed) in cut.comparison.latency.items() if speed.noise]
    unknown = f" Its speed at {text.batches(noisy)} is not known: the timing is noisy." if noisy else ""
    groups.pop("noisy", None)
    untimed = " It was not timed." if cut.quantizing else " Its speed was not measured."
    if not groups:
        return f"The network is {size}.{unknown or untimed}"
    how = f", compiled on engine {cut.timing['engine_used']}" if cut.timing["engine_used"] else ""
    paces = text.join_words([f"{PACES[p]} ({text.join_words(at)})" for p, at in groups.items()], "but")
    pays = {frozenset({"faster"}): "The cut pays", frozenset({"even"}): "The cut buys no speed"}.get(
        frozenset(groups), "The cut pays in part" if "faster" in groups else "The cut does not pay")
    joint = "but" if "faster" in groups and cut.after.bytes > cut.before.bytes else "and"
    return f"{pays} on this machine in {_type_of(cut)}: the network is {paces}{how}, {joint} {size}.{unknown}"


def title(cut: CutNetwork) -> str:
    """What was done, in a line."""
    if cut.quantizing and not cut.plan.removed:
        return f"quantised to {text.bits_name(cut.quantizing.bits)}, nothing removed"
    if cut.search and not cut.plan.removed:
        return "left as it is, nothing removed"
    return str(cut.plan).partition("\n")[0]


def quantizing(cut: CutNetwork, width: int = 0) -> str:
    """The step to fewer bits as a table of at most ``width`` columns; empty where there is none, or no other."""
    if (step := cut.quantizing) is None or not cut.plan.removed:
        return ""
    near, held = step.closeness, f"{text.count(step.closeness.samples)} samples"
    rows = [] if step.accuracy is None else [
        ("test accuracy", *(text.percent(one, 2) for one in step.accuracy),
         f"{text.points(step.accuracy[1] - step.accuracy[0])} points")]
    rows += [] if near.same is None else [("outputs, same class", "100%", text.percent(near.same, 2), held)]
    rows += [("outputs, relative error", "0", f"{near.error:.4f}", held),
             ("bytes, saved", *(text.with_prefix(one, "B") for one in step.bytes),
              text.percent(step.bytes[1] / step.bytes[0]))]
    return text.table(("quantised", "float32", text.bits_name(step.bits), ""), rows, width)


def remarks(cut: CutNetwork) -> list[str]:
    """What a reader has to know besides."""
    epochs = "1 epoch" if cut.trained == 1 else f"{cut.trained} epochs"
    training = [f"trained here for {epochs} before the cut"] if cut.trained else []
    kind = "training samples" if cut.chance else "samples"
    samples = [f"{text.count(cut.samples)} {kind} were used"] if cut.samples else []
    accuracy, chance = cut.before.accuracy, cut.chance
    guessing = accuracy is not None and chance is not None and accuracy < _GUESSING * chance
    guess = ["the original network is hardly better than guessing: was it trained?"]
    learnt = [f"distilled: {one.how}" for one in cut.stages if one.how]
    others = [_OTHERS.format(_type_of(cut))] if cut.comparison.latency else []
    return [*training, *samples, *(guess if guessing else []), *learnt, *cut.notes, *others]


def _type_of(cut: CutNetwork) -> str:
    """The type of a network's numbers, by its first tensor of floats."""
    found = (dtype_name(x.dtype) for _, x in tensors(cut.network) if x.is_floating_point())
    return next(found, "float32")


def how_to_load(cut: CutNetwork) -> str:
    """Where the file is, how large it is, and how to load the network from it."""
    size = text.with_prefix(bytes_of(cut.path), "B")
    return f"{cut.path}: saved ({size}, verified); load it with {cut.again}"
