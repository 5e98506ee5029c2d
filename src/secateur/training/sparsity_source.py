"""Where a pruner reads the sparsity from: a schedule, a number, a tensor that training code fills, a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from secateur.core import registry
from secateur.core.bounds import check_settings, check_sparsity, is_number, whole
from secateur.core.errors import SecateurError
from secateur.core.types import Plan
from secateur.pruning.granularity.base import Granularity
from secateur.training.schedules import Constant
from secateur.training.schedules.base import Schedule


@dataclass(frozen=True, eq=False)
class Live:
    """A sparsity that training code changes while it runs: a tensor of one value, or a function of the step.

    ``every`` says how often it is looked at, in steps.

    Raises:
        SecateurError: ``every`` is not a whole number from 1 on, or a function gives no fraction.

    >>> variable = torch.tensor(0.0)
    >>> live = Live(variable, every=5)
    >>> _ = variable.fill_(0.5)
    >>> live.at(5), live.due(5), live.due(6)
    (0.5, True, False)
    """

    source: Tensor | Callable[[int], float] = field(repr=False)
    every: int = 10

    def __post_init__(self) -> None:
        check_settings("", vars(self), every=whole(1))

    def at(self, step: int) -> float:
        """The value that the tensor has now, or that the function gives for the step."""
        value: Any = self.source if isinstance(self.source, Tensor) else self.source(step)
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SecateurError(f"the function of the step gave {value!r} at step {step}: allowed is a fraction "
                                "removed in [0, 1), such as 0.9") from error
        return check_sparsity(round(number, 9))

    def due(self, step: int) -> bool:
        """Every ``every`` steps."""
        return step % self.every == 0

    def progress(self, step: int) -> float:
        """0: a live sparsity has no end."""
        return 0.0


SparsitySource = Schedule | Live
"""What a pruner asks for the sparsity at a step and whether to choose anew; an object with the same methods will do."""


def as_source(given: Any) -> SparsitySource:
    """What a pruner was given as its schedule, as something that it can ask.

    Raises:
        SecateurError: it is none of the things that are allowed.

    >>> as_source(0.9).at(0)
    0.9
    """
    if is_number(given):
        return Constant(float(given), end=0)
    if isinstance(given, type):
        given = registry.item("schedules", given)
    if hasattr(given, "at") and hasattr(given, "due"):
        return given  # type: ignore[no-any-return]
    if callable(given) or (isinstance(given, Tensor) and given.numel() == 1 and not isinstance(given, torch.nn.Module)):
        return Live(given)
    raise SecateurError(f"schedule {given!r}: allowed are a plan, a schedule such as sc.schedules.Polynomial(0.9, "
                        "end=1000), a sparsity, a tensor of one value, or a function of the step")


def check_fixed_sparsity(source: SparsitySource, granularity: Granularity) -> None:
    """Refuse a schedule that asks N:M for another sparsity than it has on the way.

    Raises:
        SecateurError: it does, at a step where what goes is chosen.
    """
    fixed = granularity.sparsity
    if fixed is None or not isinstance(source, Schedule):
        return
    for step in filter(source.due, range(source.end + 1)):
        if source.at(step) not in (0.0, fixed):
            raise SecateurError(f"schedule {source} asks for {source.at(step):g} at step {step}, granularity "
                                f"'{granularity.name}' always has {fixed:g}: allowed is a step from 0 to {fixed:g} at "
                                "once, such as "
                                f"Constant({fixed:g}, begin={source.begin}) or OneShot({fixed:g}, end={source.end})")


def check_regrowth(regrow: object, schedule: Any) -> None:
    """Refuse a regrowth beside a plan, or a schedule under which no choice is made that exchanges anything.

    Raises:
        SecateurError: what is cut is a plan's, or all choices of cut weights are made at the schedule's end.
    """
    plan = isinstance(schedule, Plan)
    if regrow is None or not (plan or isinstance(schedule, Schedule)):
        return
    steps = () if plan else filter(schedule.due, range(1, schedule.end + 1))
    if not any(schedule.at(step) and schedule.progress(step) < 1 for step in steps):
        raise SecateurError(f"regrow {regrow} beside {'a plan' if plan else schedule} has no effect: allowed is a "
                            "schedule that updates the masks before its end, such as "
                            f"Constant({schedule.sparsity if plan else schedule.target:g}, end=1000)")
