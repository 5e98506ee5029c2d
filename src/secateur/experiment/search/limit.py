"""How much may be lost: points of accuracy where samples have labels, agreement of the outputs where they have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from secateur.core import text
from secateur.core.bounds import check_limit
from secateur.core.errors import SecateurError
from secateur.measure.agreement import Agreement
from secateur.measure.chance import mean_interval, paired_interval, share_interval

Measure = Literal["accuracy", "same class", "cosine"]
_ROUNDING = 1e-9
"""A loss of exactly the limit is within it, whatever the last bits of its division are."""


@dataclass(frozen=True)
class Loss:
    """What a candidate lost on the samples held out.

    Attributes:
        measure: ``accuracy``: points of accuracy lost, negative where it is gained; ``same class``: the fraction of
            rows whose class is the original's; ``cosine``: the mean cosine between its outputs and the original's.
        value: what was measured.
        low, high: the 95 % interval for all inputs of which the samples are a random draw.
        samples: how many labels, rows or samples were compared.
    """

    measure: Measure
    value: float
    low: float
    high: float
    samples: int

    def shown(self, value: float) -> str:
        """A value or an end of the interval, as tables show it."""
        return {"accuracy": f"{value:+.2f}", "same class": text.percent(value, 2)}.get(self.measure, f"{value:.4f}")


@dataclass(frozen=True)
class Limit:
    """What may be lost; one of the two is given.

    Attributes:
        max_loss: the points of accuracy that may be lost, from 0 to 100.
        agreement: how alike outputs have to be, in (0, 1]: the fraction of rows with the same class, or the mean
            cosine where outputs are no scores.

    Raises:
        SecateurError: both, none, or a number out of range.

    >>> str(Limit(max_loss=0.5)), str(Limit(agreement=0.98))
    ('a loss of at most 0.5 points of accuracy', 'an agreement of at least 0.98')
    """

    max_loss: float | None = None
    agreement: float | None = None

    def __post_init__(self) -> None:
        check_limit(self.max_loss, self.agreement)

    def __str__(self) -> str:
        if self.max_loss is not None:
            return f"a loss of at most {self.max_loss:g} points of accuracy"
        return f"an agreement of at least {self.agreement:g}"

    def loss(self, near: Agreement) -> Loss:
        """What of this limit's measure a candidate lost.

        Raises:
            SecateurError: ``max_loss`` without labels that are classes.
        """
        if self.max_loss is not None:
            if near.flips is None:
                raise SecateurError(f"max_loss {self.max_loss:g}: points of accuracy take labels that are classes; "
                                    "without them give agreement (--agreement), such as 0.98")
            lost, won, count = near.flips
            low, high = paired_interval(lost, won, count)
            return Loss("accuracy", 100 * (lost - won) / count, 100 * low, 100 * high, count)
        if near.same is not None:
            return Loss("same class", near.same, *share_interval(round(near.same * near.rows), near.rows), near.rows)
        return Loss("cosine", near.cosine, *mean_interval(near.cosine, near.deviation, near.samples), near.samples)

    def allows(self, loss: Loss) -> bool:
        """Whether a loss that was measured is within the limit; one that is no number is not."""
        return self.is_met(loss.value)

    def is_met(self, value: float) -> bool:
        """The same for a value of the limit's measure."""
        if self.max_loss is not None:
            return value <= self.max_loss + _ROUNDING
        assert self.agreement is not None
        return value >= self.agreement - _ROUNDING

    def is_sure(self, loss: Loss) -> bool:
        """Whether the worse end of the interval is within the limit, too."""
        return self.is_met(loss.high if self.max_loss is not None else loss.low)
