"""What a search found, as one value that prints as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from secateur.core import text
from secateur.core.choices import Goal
from secateur.experiment.search.candidate import LEAVE, Candidate, Tried, table
from secateur.experiment.search.limit import Limit, Loss
from secateur.experiment.search.trials import Made

_HEADS = {"accuracy": "points lost", "same class": "same class", "cosine": "cosine"}


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The network that a search found, and all that was tried; ``print`` shows it as a table.

    Attributes:
        network: the smallest or fastest within the limit.
        taken: its row.
        tried: all rows: what was measured, and what could not be made.
        limit: what might be lost.
        goal: ``size`` or ``speed``.
        batch: the samples of a call that was timed.
        made: how the network was made.
        remarks: what is to be known besides.
    """

    network: nn.Module
    taken: Tried
    tried: tuple[Tried, ...]
    limit: Limit
    goal: Goal
    batch: int
    made: Made = field(repr=False)
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.table()

    @property
    def candidate(self) -> Candidate:
        """What was taken: granularity, sparsity and bits."""
        return self.taken.candidate

    def table(self, width: int = 0) -> str:
        """What was tried, at most ``width`` columns wide (0: without such a limit), and what was taken."""
        return "\n".join([self._title(), table(self.tried, self.candidate, _HEADS[self._loss.measure], width),
                          self._sentence(), *(f"note: {note}" for note in self.notes())])

    @property
    def _loss(self) -> Loss:
        assert self.taken.loss is not None
        return self.taken.loss

    def _title(self) -> str:
        goal = "the smallest file" if self.goal == "size" else f"the fastest network at batch {self.batch}"
        return f"search: {goal} within {self.limit}, measured on {text.count(self._loss.samples)} held-out samples"

    def _sentence(self) -> str:
        """What was taken, and what it buys."""
        whole = next(one for one in self.tried if one.candidate == LEAVE)
        if self.candidate == LEAVE:
            others = [one for one in self.tried if one.is_within and one is not whole]
            why = f"nothing within the limit is {'smaller' if self.goal == 'size' else 'faster'}" if others else (
                "nothing else that was tried is within the limit")
            return f"taken: the network as it is: {why}"
        speed = f", {text.times(self.taken.speed.ratio)} the speed in {self.taken.engine}" if self.taken.speed else ""
        return (f"taken: {self.candidate}: {text.percent(self.taken.bytes / whole.bytes)} of the bytes"
                f" ({text.with_prefix(self.taken.bytes, 'B')}){speed}")

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know: what the samples cannot tell, and what could not be made or timed."""
        loss = self._loss
        worse = loss.shown(loss.high if loss.measure == "accuracy" else loss.low)
        wide = [] if self.candidate == LEAVE or self.limit.is_sure(loss) else [
            f"{text.count(loss.samples)} held-out samples leave open whether all inputs keep to the limit: the 95% "
            f"interval reaches {worse}; more samples narrow it"]
        refused = [f"{one.candidate.granularity if not one.candidate.sparsity else one.candidate}: {one.note}"
                   for one in self.tried if one.note]
        return (*wide, *refused, *self.remarks)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"limit": {"max_loss": self.limit.max_loss, "agreement": self.limit.agreement}, "goal": self.goal,
                "batch": self.batch, "taken": self.taken.plain(), "tried": [one.plain() for one in self.tried]}
