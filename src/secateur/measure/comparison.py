"""A network before and after a cut, as one value that prints as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from secateur.core import text
from secateur.measure.agreement import Agreement
from secateur.measure.speed import Speed, doubts


@dataclass(frozen=True)
class Figures:
    """One of the two networks.

    Attributes:
        accuracy: in [0, 1]; None where there are no labels.
        parameters: how many there are.
        nonzeros: how many of them are not zero.
        bytes: of the file that :func:`secateur.save` writes of the tensors alone, in which zeros take no room; of the
            tensors themselves where another form is written.
        flops: of one sample, multiplications by zero weights not counted.
    """

    accuracy: float | None
    parameters: int
    nonzeros: int
    bytes: int
    flops: int


@dataclass(frozen=True)
class Comparison:
    """What a cut costs and what it gains; ``print`` shows it as a table.

    Attributes:
        before, after: the figures of the two networks.
        agreement: how alike their outputs are; None where accuracy alone was measured.
        latency: for each batch size the original's seconds a call, and the cut network's :class:`Speed`.
        notes: what is to be known besides.
        part: what the accuracy was measured on, such as ``test``; empty: the samples that were given.
    """

    before: Figures
    after: Figures
    agreement: Agreement | None = None
    latency: dict[str, tuple[float, Speed]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    part: str = ""

    def __str__(self) -> str:
        return self.table()

    def table(self, width: int = 0) -> str:
        """The figures as a table of at most ``width`` columns (0: without such a limit), the notes below it."""
        return "\n".join([text.table(("", "before", "after", ""), [*self._lines()], width),
                          *(f"note: {note}" for note in (*doubts(self.latency), *self.notes))])

    def _lines(self) -> Iterator[tuple[str, ...]]:
        """What is measured, before, after, and after as a part of before."""
        old, new, near = self.before, self.after, self.agreement
        if old.accuracy is not None and new.accuracy is not None:
            yield (f"{self.part} accuracy".strip(), text.percent(old.accuracy, 2), text.percent(new.accuracy, 2),
                   f"{text.points(new.accuracy - old.accuracy)} points")
        if near is not None:
            count_text = f"{text.count(near.samples)} samples"
            if near.same is not None:
                yield "outputs, same class", "100%", text.percent(near.same, 2), count_text
            yield "outputs, cosine", "1", f"{near.cosine:.4f}", count_text
            yield "outputs, relative error", "0", f"{near.error:.4f}", count_text
        for name, was, now, show in (("parameters", old.parameters, new.parameters, text.count),
                                     ("not zero", old.nonzeros, new.nonzeros, text.count),
                                     ("bytes, saved", old.bytes, new.bytes, lambda n: text.with_prefix(n, "B")),
                                     ("FLOPs, zeros not counted", old.flops, new.flops, text.with_prefix)):
            yield name, show(was), show(now), text.percent(now / was) if was else "–"
        for batch, (seconds, speed) in self.latency.items():
            yield (f"ms at batch {batch}", f"{seconds * 1e3:.3g}", f"{seconds / speed.ratio * 1e3:.3g}",
                   f"{speed.shown} the speed" if speed.pace != "even" else f"about as fast ({speed.shown})")
