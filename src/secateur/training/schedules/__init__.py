"""Schedules: how the sparsity goes from first to last. One file each, see ``base.py`` for the contract."""

from __future__ import annotations

from secateur.core import registry
from secateur.training.schedules.base import Schedule
from secateur.training.schedules.constant import Constant
from secateur.training.schedules.cosine import Cosine
from secateur.training.schedules.exponential import Exponential
from secateur.training.schedules.linear import Linear
from secateur.training.schedules.one_shot import OneShot
from secateur.training.schedules.polynomial import Polynomial

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "OneShot", "Polynomial", "Schedule", "resolve"]


def resolve(name: str, target: float, begin: int = 0, end: int = 100, initial: float = 0.0,
            every: int = 10) -> Schedule:
    """The schedule behind a name (``secateur list`` shows them), or behind ``pkg.module:class``.

    Raises:
        SecateurError: an unknown name, or a setting that is not allowed.

    >>> resolve("linear", 0.8, end=100).at(50)
    0.4
    """
    made: Schedule = registry.get("schedules", name)(target, begin, end, initial, every)
    return made
