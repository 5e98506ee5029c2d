"""The top of the page: the sentence, and what each granularity's cut costs and buys in figures."""

from __future__ import annotations

from html import escape

from secateur.core import text as words
from secateur.report.conclusions import (
    Answer,
    Part,
    both,
    cost_words,
    headline_batches,
    over_words,
    recovered,
    recovered_parts,
    sentence_parts,
    speed_of,
    stored,
)
from secateur.report.plots import palette
from secateur.report.render.html import tag
from secateur.report.results import Digest


def top(digest: Digest) -> str:
    """What the run was, the sentence, and a card a granularity."""
    config, seeds = digest.run.config, len(digest.run.trained)
    kicker = f"secateur · {config.get('model')} on {config.get('data')} · {seeds} seed{'s' * (seeds != 1)}"
    cards = "".join(card(a, digest) for a in both(digest))
    more = [tag("p", coloured(parts), class_="lead")] if (parts := recovered_parts(digest)) else []
    more += [tag("p", escape(text), class_="note") for text in refusals(digest)]
    return tag("header", tag("p", escape(kicker), class_="kicker") + tag("h1", coloured(sentence_parts(digest)))
               + "".join(more) + tag("div", cards, class_="cards paired" if recovered(digest) else "cards"))


def coloured(parts: list[Part]) -> str:
    """Pieces of a sentence in their colours."""
    return "".join(tag("strong", escape(text), class_=palette.role(r)) if r else escape(text) for text, r in parts)


def refusals(digest: Digest) -> list[str]:
    """Why the best cut could not be made, a sentence a granularity."""
    return [f"Cutting {words.noun(granularity)} with recovery was left out: {reason}."
            for granularity, reason in digest.run.refused.items()]


def card(a: Answer, digest: Digest) -> str:
    """One granularity's answer in figures."""
    title = f"{words.capital(a.method.name)} ({a.method.criterion}, scope {a.method.scope})"
    big = words.percent(a.cell.sparsity if a.cell else 0)
    listed = "".join(tag("div", tag("dt", escape(k)) + tag("dd", escape(v))) for k, v in facts(a, digest))
    headline = tag("p", tag("b", big) + " can go", class_="big")
    return tag("article", tag("h3", escape(title)) + headline + tag("dl", listed),
               class_=f"card {palette.role(a.method.granularity)}")


def facts(a: Answer, digest: Digest) -> list[tuple[str, str]]:
    """Names and values: cost, size and speed."""
    cell = a.cell
    if cell is None:
        refused = a.refused
        return [(f"at {words.percent(refused.sparsity)}", cost_words(refused) + over_words(refused))] if refused else []
    found = [("accuracy", cost_words(cell) + over_words(cell)),
             ("removed", f"{words.count(cell.removed)} of {words.count(cell.items)}"),
             ("parameters left", f"{words.count(cell.nonzeros)} of {words.count(digest.dense.parameters)}"),
             ("stored", f"{words.scaled(stored(a), 'B')} of {words.scaled(digest.dense.bytes, 'B')}")]
    timed = [(b, s) for b in headline_batches(digest) if (s := speed_of(a, b))]
    return found + [(f"speed, batch {b}", f"{words.times(s.ratio)} (quartiles {words.times(s.low)} to "
                     f"{words.times(s.high)})") for b, s in timed]
