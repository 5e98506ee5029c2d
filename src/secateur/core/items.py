"""Items: values with settings, such as ``Neuron(round_to=8)``, whose arguments are checked when they are made."""

from __future__ import annotations

import difflib
import inspect
import sys
from abc import ABCMeta
from collections.abc import Mapping, Sequence
from typing import Any

from secateur.core.errors import SYNONYMS, SecateurError, unknown

_SPARSITY = "the second argument of plan and prune; for sensitivity, sparsities="
_ELSEWHERE = {"round_to": "granularity=Neuron(round_to=8)", "pooling": "granularity=Block(4, 1, pooling='max')",
             "least": "scope=Layer(min_sparsity=0.2)", "most": "scope=Global(max_sparsity=0.95)",
             "min_sparsity": "scope=Layer(min_sparsity=0.2)", "max_sparsity": "scope=Global(max_sparsity=0.95)",
             "budget": "scope=Budget(ms=2.5, batch=64)", "loss": "data=Samples(inputs, labels, loss=...)",
             "epochs": "recovery=Finetune(epochs=3)", "neurons": "granularity='neuron'",
             "channel": "granularity='neuron'", "channels": "granularity='neuron'", "filter": "granularity='neuron'",
             "filters": "granularity='neuron'", "pruning_ratio": "sparsity=0.5",
             "sparsity": _SPARSITY, "amount": _SPARSITY,
             "recovery": "secateur.prune(..., recovery=...)"}
"""Where a setting lives that is no argument of the call."""


_ALIKE = 0.8
"""How alike a name must be to one of these: ``roundto`` is, ``sparsities`` is not ``sparsity``."""


def check_arguments(what: str, signature: inspect.Signature, args: Sequence[Any], settings: Mapping[str, Any]) -> None:
    """Refuse arguments that a call does not take; an unknown name is answered with the right one.

    Args:
        what: the call, for the message.
        signature: its parameters.
        args: what was given by place.
        settings: what was given by name.

    Raises:
        SecateurError: too many arguments, an unknown name, or an argument that is missing or given twice.
    """
    known = list(signature.parameters)
    by_place = [one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(args) > len(by_place):
        raise SecateurError(f"{what}: got {len(args)} positional arguments, allowed are "
                            f"{', '.join(by_place) or 'none'}; "
                            f"give the others by name: {', '.join(name for name in known if name not in by_place)}")
    for name in (name for name in settings if name not in known):
        near = difflib.get_close_matches(name, _ELSEWHERE.keys() - set(known), n=1, cutoff=_ALIKE)
        if near and SYNONYMS.get(name) not in known:
            raise SecateurError(f"{what}: unknown argument '{name}': use {_ELSEWHERE[near[0]]}")
        raise unknown(f"argument of {what}", name, known)
    try:
        signature.bind(*args, **settings)
    except TypeError as error:
        raise SecateurError(f"{what}(...) needs its arguments: {error}; allowed: {', '.join(known)}") from error


def python_number(value: Any) -> Any:
    """The number of Python that a NumPy scalar is, of exactly its value; anything else as it is.

    >>> import numpy as np
    >>> python_number(np.float32(0.5)), python_number(np.int64(8)), python_number("8")
    (0.5, 8, '8')
    """
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


class _ItemType(ABCMeta):
    """What makes an item. It is not done in ``__init__``, which the dataclass of each item writes anew."""

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        """A value of the class, its arguments checked by name and number."""
        check_arguments(cls.__name__, inspect.signature(cls), args, settings)
        return super().__call__(*map(python_number, args),
                                **{name: python_number(value) for name, value in settings.items()})

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of ``__init__``: without it, ``help`` shows the one of ``__call__``."""
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=[*own.parameters.values()][1:])


class Item(metaclass=_ItemType):
    """The base of granularities, criteria, scopes, schedules, regrowths, recoveries, specs and settings.

    Wrong names of settings are answered with the right ones, and NumPy scalars become numbers of Python.

    Raises:
        SecateurError: an unknown setting, a missing one, or one that is given twice.

    >>> from secateur import Global
    >>> Global(most=0.9)
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: unknown argument of Global 'most': did you mean 'max_sparsity'? allowed: ...
    """
