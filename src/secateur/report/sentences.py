"""The answer of a run in words: one sentence on top, then short ones, each about one thing."""

from __future__ import annotations

import math

from secateur.core import text as words
from secateur.measure.speed import PACES, Speed, in_words
from secateur.report.conclusions import (
    Answer,
    all_answers,
    alone_words,
    answers,
    headline_speeds,
    interval_words,
    size_words,
    source,
)
from secateur.report.results import Cell, Quantized, Results, is_within

Part = tuple[str, str]
"""A piece of a sentence and its colour role, which is empty for plain text."""
MOST_WORDS = 20
"""Words that a headline has at most."""
QUIET = "Run the same command again on a quiet machine to repeat the noisy timings."


def headline(results: Results) -> str:
    """The answer in one sentence of at most 20 words."""
    return "".join(text for text, _ in headline_parts(results))


def headline_parts(results: Results) -> list[Part]:
    """The headline in pieces, with the colour role of what each granularity can lose.

    Of each granularity the larger cut counts, plain or recovered; a second granularity is named where words are left.
    Beside an uncut network in fewer bits the cuts with the smallest files are named.
    """
    best, limit, rival = _best(results), _limit(results), results.rival
    if not answers(results):
        return [("Only random controls were cut, so this run cannot say how much can be removed.", "")]
    if not best and rival is None:
        return [(f"No measured cut stays {limit}.", "")]
    if not best and rival is not None:
        return [(f"No measured cut stays {limit}; {rival.name} does, in {size_words(rival.cell.stored, results)} of "
                 "the bytes.", "")]
    told = [_headline(best[:n], limit) if rival is None else _against(_smallest(best, n), rival, results)
            for n in (2, 1)]
    return next((parts for parts in told if len("".join(text for text, _ in parts).split()) <= MOST_WORDS), told[-1])


def _against(best: list[Answer], rival: Quantized, results: Results) -> list[Part]:
    """The headline where the uncut network in fewer bits is as accurate as a cut has to be: bytes beside bytes."""
    sizes = {a.cell.stored: a for a in best if a.cell}
    start, share = words.capital(_limit(results)), size_words(rival.cell.stored, results)
    if min(sizes) >= rival.cell.stored:
        return [(f"Quantise rather than cut: {_limit(results)}, {rival.name} takes {share} of the bytes, the best cut "
                 f"{size_words(min(sizes), results)}.", "")]
    probably = "" if is_within(rival.cell.cost.high, results.tolerance) else " probably"
    parts: list[Part] = [(f"{start}, {rival.name}{probably} takes {share} of the bytes", "")]
    for stored, a in sizes.items():
        quantised = "" if a.method.bits == 32 else f"{words.bits_name(a.method.bits)} with "
        parts += [(f", {'' if a.is_sure else 'probably '}", ""),
                  (f"{quantised}{words.percent(_sparsity(a))} fewer {words.noun(a.method.granularity)}",
                   a.method.granularity), (f" {size_words(stored, results)}", "")]
    return [*parts, (".", "")]


def _headline(best: list[Answer], limit: str) -> list[Part]:
    """The headline of one answer or two; one word of doubt serves both."""
    first, *others = best
    parts: list[Part] = [(f"You can {'' if first.is_sure else 'probably '}remove ", ""), *_share_in_bits(first)]
    for other in others:
        doubtful = first.is_sure and not other.is_sure
        parts += [(f", or {'probably ' if doubtful else ''}", ""), *_share_in_bits(other), (",", "")]
    return [*parts, (f" and stay {limit}.", "")]


def _best(results: Results) -> list[Answer]:
    """The answer of each granularity that can lose most, the plain one of two that can lose as much; the smallest file
    where there are networks in fewer bits."""
    found = [a for a in all_answers(results) if a.cell is not None]
    by_granularity = {g: [a for a in found if a.method.granularity == g] for g in results.granularities}
    several = results.rival is not None or len({a.method.bits for a in found}) > 1
    return [max(same, key=lambda a: (-a.cell.stored if several and a.cell else 0.0, _sparsity(a),
                                     not a.method.has_recovery)) for same in by_granularity.values() if same]


def _smallest(best: list[Answer], count: int) -> list[Answer]:
    """The answers with the smallest files, in the order of the granularities."""
    sizes = [float("inf") if a.cell is None else a.cell.stored for a in best]
    places = sorted(range(len(best)), key=sizes.__getitem__)
    return [best[i] for i in sorted(places[:count])]


def _sparsity(a: Answer) -> float:
    return a.cell.sparsity if a.cell else 0.0


def _limit(results: Results) -> str:
    """The accuracy that has to be kept."""
    return f"within {100 * results.tolerance:g} points of {words.percent(results.dense.accuracy.mean)}"


def _share(a: Answer) -> Part:
    """How much of what can go."""
    return f"{words.percent(_sparsity(a))} of the {words.noun(a.method.granularity)}", a.method.granularity


def _share_in_bits(a: Answer) -> list[Part]:
    """The same with the type in which the cut network computes, where that is no float32."""
    return [_share(a), *([(f" in {words.bits_name(a.method.bits)}", "")] if a.method.bits != 32 else [])]


def explanation(results: Results) -> list[str]:
    """What stands behind the headline, each sentence about one thing."""
    found = all_answers(results)
    alone = [alone_words(one, results) for one in results.quantized]
    noisy = any(s.noise for a in found if a.cell for _, s in headline_speeds(a.method, a.cell, results))
    return [*alone, *(sentence for a in found for sentence in sentences_of(a, results)), *[QUIET] * noisy]


def sentences_of(a: Answer, results: Results) -> list[str]:
    """What one answer says: what can go, what it costs, the size, the speed."""
    items, condition = words.noun(a.method.granularity), _condition(a, results)
    if a.cell is None:
        tried = f" ({words.percent(a.too_much.sparsity)} costs {_points(a.too_much.cost.mean)})" if a.too_much else ""
        return [words.capital(f"{condition}no fraction of the {items} that was tried can be removed{tried}.")]
    first = f"{condition}you can {'' if a.is_sure else 'probably '}remove {_share(a)[0]}."
    end = [] if a.too_much else ["That is the largest sparsity that was tried."]
    return [words.capital(first), *end, *_loss(a), _size(a.cell, results), *_speed(a, a.cell, results)]


def _condition(a: Answer, results: Results) -> str:
    """What is done after the cut; nothing is said where no other answer has it otherwise."""
    if a.method.has_recovery:
        return f"With {source(a)}{_in_bits(a)}, "
    recovered = {b.method.granularity for b in answers(results, recovery=True)}
    return f"Without recovery{_in_bits(a)}, " if a.method.granularity in recovered else _in_bits(a, alone=True)


def _in_bits(a: Answer, alone: bool = False) -> str:
    """The type in which a cut network computes, where that is no float32."""
    if a.method.bits == 32:
        return ""
    return f"In {words.bits_name(a.method.bits)}, " if alone else f" and in {words.bits_name(a.method.bits)}"


def _loss(a: Answer) -> list[str]:
    """What the cut costs; and where the interval reaches beyond the tolerance, how far, and up to where it does not."""
    assert a.cell is not None
    cost, mean = a.cell.cost, _points(abs(a.cell.cost.mean))
    gains = words.points(cost.mean).startswith("−")
    if math.isnan(cost.high):
        return [f"It {'gains' if gains else 'costs'} {mean}, but one network gives no interval."]
    if a.is_sure:
        return [f"It {'gains' if gains else 'costs'} {mean} ({interval_words(cost)})."]
    drawn = (f"{len(a.cell.rows)} seeds" if "seeds" in cost.over else
             f"{words.count(a.cell.rows[0].tests)} test samples")
    worst = _first_doubtful(a)
    where = "" if worst is a.cell else f" at {words.percent(worst.sparsity)}"
    doubt = (f"The average {'gain' if gains else 'loss'} is {mean}, but with {drawn} it could be "
             f"{'a loss of ' if gains and not where else ''}{words.points(worst.cost.high)}{where}.")
    sure = f"Up to {words.percent(a.sure.sparsity)}, the whole 95% interval lies within the tolerance." if a.sure else (
        "The 95% interval reaches beyond the tolerance from the smallest sparsity on.")
    return [doubt, sure]


def _first_doubtful(a: Answer) -> Cell:
    """Where the doubt in an answer comes from: the answer itself, or the first smaller sparsity with one.

    What costs too much at a smaller sparsity is no sure answer at a larger one, whatever was measured there.
    """
    assert a.cell is not None
    if not a.cell.cost.high <= a.tolerance:
        return a.cell
    below = [c for c in a.cells if c.removed > 0 and c.sparsity < a.cell.sparsity]
    return next((c for c in below if not c.cost.high <= a.tolerance), a.cell)


def _points(loss: float) -> str:
    return f"{words.points(loss)} points"


def _size(cell: Cell, results: Results) -> str:
    """What the cut does to the size."""
    new, old = cell.stored, results.dense.bytes
    if new >= old:
        return "The file gets no smaller."
    rival = results.rival
    beside = f"; {rival.name} takes {words.with_prefix(rival.cell.stored, 'B')}" if rival else ""
    return f"The file shrinks from {words.with_prefix(old, 'B')} to {words.with_prefix(new, 'B')}{beside}."


def _speed(a: Answer, cell: Cell, results: Results) -> list[str]:
    """What the cut does to the speed, one sentence for each pace; a noisy timing gives no figure."""
    by_pace: dict[str, list[tuple[str, Speed]]] = {}
    for batch, speed in headline_speeds(a.method, cell, results):
        by_pace.setdefault(speed.pace, []).append((batch, speed))
    if not by_pace:
        return ["Its speed was not measured."]
    how, noisy = " with sparse kernels" if a.method.way == "sparse" else "", by_pace.pop("noisy", [])
    told = [f"It is {PACES[name]}{how}: {_ratios(found)}." for name, found in by_pace.items()]
    return [*told, *_unknown(noisy)]


def _ratios(found: list[tuple[str, Speed]]) -> str:
    """The ratio at each batch."""
    return words.join_words([f"{in_words(s, i == 0)} at batch {b}" for i, (b, s) in enumerate(found)])


def _unknown(noisy: list[tuple[str, Speed]]) -> list[str]:
    """That a speed is not known, and why."""
    if not noisy:
        return []
    return [f"Its speed at {words.batches([b for b, _ in noisy])} is not known: {noisy[0][1].noise}."]
