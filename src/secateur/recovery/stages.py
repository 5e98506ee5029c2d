"""What each step of a recovery gained, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from secateur.core import text
from secateur.core.errors import SecateurError
from secateur.measure.agreement import Agreement, agreement
from secateur.recovery.original import Original


@dataclass(frozen=True)
class Stage:
    """A network after one step of a recovery.

    Attributes:
        name: ``cut``, ``refit``, ``distilled``.
        closeness: how near its outputs are to the original's on samples held out; None where they cannot be compared.
        seconds: what the step took.
        how: what it did, as a clause; empty where there is nothing to say.
    """

    name: str
    closeness: Agreement | None
    seconds: float = 0.0
    how: str = ""

    def __str__(self) -> str:
        near, took = self.closeness, ", ".join(filter(None, [self.how, f"{self.seconds:.1f} s"]))
        figures = "" if near is None else f" {near.error:.3f}"
        same = "" if near is None or near.same is None else f" (same class {text.percent(near.same)})"
        return f"{self.name}{figures}{same}" + (f" in {took}" if self.name != "cut" else "")


def stage(name: str, network: nn.Module, held: Original, seconds: float = 0.0, how: str = "") -> Stage:
    """Measure a network after a step, on the samples held out."""
    try:
        near = agreement(held.network, network, held.samples)
    except SecateurError:
        near = None
    return Stage(name, near, seconds, how)


def describe(stages: tuple[Stage, ...]) -> str:
    """One sentence about all steps; empty where there are none.

    >>> describe((Stage("cut", Agreement(0.5, 0.9, 100)), Stage("refit", Agreement(0.25, 0.99, 100), 1.5)))
    'relative error of the outputs on 100 samples held out: cut 0.500, refit 0.250 in 1.5 s'
    """
    if not stages:
        return ""
    count = next((one.closeness.samples for one in stages if one.closeness), 0)
    return (f"relative error of the outputs on {text.count(count)} samples held out: " if count else "recovery: "
            ) + ", ".join(map(str, stages))
