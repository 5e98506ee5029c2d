"""What one cut cost and bought, as the lines of a table and in sentences."""

from __future__ import annotations

from secateur.core import text
from secateur.experiment.single.output import bytes_of
from secateur.experiment.single.prune import CutNetwork
from secateur.measure.speed import PACES, Speed, pace, told

Line = tuple[str, str, str, str]
FASTEST = ("sparse", "small")
GUESSING = 1.5


def lines(done: CutNetwork) -> list[Line]:
    """What is measured, before, after, and after as a part of before."""
    old, new = done.before, done.after
    found = outcome(done)
    found += [counted(name, *pair) for name, pair in {
        "parameters": (old.parameters, new.parameters), "not zero": (old.nonzeros, new.nonzeros)}.items()]
    found += [("bytes, saved", text.scaled(old.bytes, "B"), text.scaled(new.bytes, "B"),
               text.percent(new.bytes / old.bytes)),
              ("FLOPs, zeros not counted", text.scaled(old.flops), text.scaled(new.flops),
               text.percent(new.flops / old.flops) if old.flops else "–")]
    return found + [(f"ms at batch {batch}", milliseconds(original), milliseconds(original / speed.ratio),
                     f"{text.times(speed.ratio)} the speed") for batch, (original, speed) in speeds(done).items()]


def outcome(done: CutNetwork) -> list[Line]:
    """What the cut cost: accuracy, or without labels how near the outputs are to the original's."""
    old, new = done.before.accuracy, done.after.accuracy
    if old is not None and new is not None:
        return [("test accuracy", text.percent(old, 2), text.percent(new, 2), f"{text.points(new - old)} points")]
    if done.closeness is None:
        return []
    seen = f"{text.count(done.closeness.samples)} samples"
    return [("outputs, relative error", "0", f"{done.closeness.error:.4f}", seen),
            ("outputs, cosine", "1", f"{done.closeness.cosine:.4f}", seen)]


def counted(name: str, old: int, new: int) -> Line:
    """The line of a count."""
    return name, text.count(old), text.count(new), text.percent(new / old)


def milliseconds(seconds: float) -> str:
    """Milliseconds with three digits."""
    return f"{seconds * 1e3:.3g}"


def speeds(done: CutNetwork) -> dict[str, tuple[float, Speed]]:
    """For each batch size the original's seconds, and the speed of the cut network in the way made for it."""
    found = {}
    for batch, ways in done.timing["latency"].items():
        fast = next(ways[name] for name in FASTEST if name in ways)
        original = ways["original"]["median"]
        found[batch] = original, Speed(original / fast["speedup"], fast["speedup"], fast["speedup_low"],
                                       fast["speedup_high"])
    return found


def verdict(done: CutNetwork) -> str:
    """Whether the cut pays on this machine, in a sentence."""
    size = f"stored in {text.percent(done.after.bytes / done.before.bytes)} of the bytes"
    groups: dict[str, list[str]] = {}
    for batch, (_, speed) in speeds(done).items():
        groups.setdefault(pace(speed.ratio), []).append(f"{told(speed)} at batch {batch}")
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
