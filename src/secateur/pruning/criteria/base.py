"""The contract of a criterion: weights in, one score an item out; higher means keep."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torch import Tensor

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.core.items import Item
from secateur.pruning.granularity import GranularityChoice, resolve
from secateur.pruning.signals.base import Signals

Function = Callable[[Tensor, Signals], Tensor]


class Criterion(Item):
    """Gives each item a score.

    ``granularities`` names the granularities that it can score, ``needs`` the fields of
    :class:`~secateur.pruning.signals.base.Signals` that it reads, ``control`` whether it is a baseline rather
    than a method to use, ``called`` what a plan calls it where that is not its class.
    """

    granularities: ClassVar[frozenset[str]]
    needs: ClassVar[frozenset[str]] = frozenset()
    control: ClassVar[bool] = False
    called: str = ""

    @abstractmethod
    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """Score the items of one tensor.

        Args:
            weight: for ``weight``, the tensor in its own shape; for ``neuron``, a matrix with one
                row a unit, ``(units, values)``.
            signals: what the criterion declared in ``needs``.

        Returns:
            One score an item: the shape of ``weight``, or ``(units,)``. Higher means keep.
        """


class Own(Criterion):
    """A user's function of weight and signals as a criterion for every granularity.

    Attributes ``needs`` and ``granularities`` of the function, where it has them, say what it reads and scores.
    """

    def __init__(self, function: Function):
        self.function = function
        self.needs = frozenset(getattr(function, "needs", ()))  # type: ignore[misc]
        everything = frozenset(registry.files("granularity"))
        self.granularities = frozenset(getattr(function, "granularities", everything))  # type: ignore[misc]

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """What the function gives, as floats.

        Raises:
            SecateurError: it gives no tensor, or one of another shape.
        """
        found = self.function(weight, signals)
        shape = weight.shape[:1] if signals.granularity == "neuron" else weight.shape
        if not isinstance(found, Tensor) or found.shape != shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise SecateurError(f"criterion '{_name_of(self.function)}' returned {got}; allowed: one score per item, "
                                f"a tensor of shape {tuple(shape)}")
        return found if found.is_floating_point() else found.double()


def as_criterion(choice: str | Criterion | Function) -> tuple[str, Criterion]:
    """The name of a criterion and the criterion itself, from a name, ``pkg.module:name``, an instance or a function.

    >>> as_criterion(lambda weight, signals: weight)[0]
    'secateur.pruning.criteria.base:<lambda>'
    """
    found = registry.get("criteria", choice) if isinstance(choice, str) else choice
    name = choice if isinstance(choice, str) else getattr(found, "called", "") or _name_of(found)
    if isinstance(found, type) and issubclass(found, Criterion):
        found = found()
    if isinstance(found, Criterion):
        return name, found
    if not callable(found) or isinstance(found, type):
        raise SecateurError(f"criterion '{name}' is a {type(found).__name__}; allowed: a Criterion, or a function of "
                            "weight and signals")
    return name, Own(found)


def _name_of(item: object) -> str:
    """What a criterion is called in a plan: its file where it is one of the registry, else ``pkg.module:name``."""
    kind: Any = item if inspect.isfunction(item) or inspect.isclass(item) else type(item)
    return registry.name_of("criteria", kind)


def criteria_for(granularity: GranularityChoice) -> list[str]:
    """The criteria that can score a granularity: those of single weights for blocks and N:M, too."""
    scored = resolve(granularity).scored_as
    return [name for name in registry.files("criteria") if scored in registry.get("criteria", name).granularities]


CONTRACT = Criterion

CriterionName = Literal["magnitude", "l1", "l2", "random", "activation", "apoz", "bn-scale", "cholesky", "elimination",
                        "energy", "fpgm", "grasp", "leverage", "movement", "obd", "obs", "snip", "sparsegpt", "synflow",
                        "taylor", "wanda"]
CriterionChoice = CriterionName | str | Criterion | Function | None
"""A name, ``pkg.module:name``, a criterion, or a function of weight and signals; None for the granularity's default."""
