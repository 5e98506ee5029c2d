"""Which criteria, scopes and settings go with which granularities, and which of them look at samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.core.settings import Settings, settings_of
from secateur.core.text import join_words
from secateur.experiment.checks import read_layers
from secateur.pruning.criteria.base import as_criterion, criteria_for
from secateur.pruning.granularity import resolve
from secateur.pruning.signals.base import SOURCES
from secateur.recovery.pipeline import RecoveryChoice, kinds_of, name_of, recoveries


def scoring_criteria(criteria: Iterable[str], granularity: str) -> list[str]:
    """The criteria that can score a granularity."""
    kind = resolve(granularity).scored_as
    return [c for c in criteria if kind in as_criterion(c)[1].granularities]


def defined_scopes(scopes: Iterable[str], granularity: str) -> list[str]:
    """The scopes that are defined for a granularity: for N:M, whose sparsity is fixed, only ``layer``."""
    item = resolve(granularity)
    return [s for s in scopes if item.scored_as in registry.get("scopes", s).scores
            and (item.sparsity is None or s == "layer")]


def check_criteria(criteria: Sequence[str], granularities: Sequence[str]) -> None:
    """Refuse a granularity that none of the criteria scores."""
    for granularity in granularities:
        if not scoring_criteria(criteria, granularity):
            raise SecateurError(f"criterion {', '.join(criteria)}: none scores granularity '{granularity}': did you "
                                f"mean '{resolve(granularity).default_criterion}'? "
                                f"allowed: {', '.join(criteria_for(granularity))}")


def check_criteria_are_used(criteria: Sequence[str], granularities: Sequence[str]) -> None:
    """Refuse a criterion that scores none of the granularities."""
    for name in criteria:
        kinds = as_criterion(name)[1].granularities
        if not kinds & {resolve(g).scored_as for g in granularities}:
            raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(kinds))}, "
                                f"but granularity is {', '.join(granularities)}")


def check_scopes(scopes: Sequence[str], granularities: Sequence[str]) -> None:
    """Refuse a granularity that no scope is defined for, and a scope without a granularity."""
    for granularity in granularities:
        if not defined_scopes(scopes, granularity):
            allowed = defined_scopes(registry.files("scopes"), granularity)
            raise SecateurError(f"scope {', '.join(scopes)}: none is defined for granularity '{granularity}'; "
                                f"allowed: {', '.join(allowed)}")
    for scope in scopes:
        if not any(defined_scopes([scope], g) for g in granularities):
            kinds = ", ".join(sorted(registry.get("scopes", scope).scores))
            raise SecateurError(f"scope '{scope}' is defined for {kinds} without N:M, "
                                f"but granularity is {', '.join(granularities)}")


def check_settings_act(config: Settings) -> None:
    """Refuse a setting of granularities or scopes that decides nothing, because none of the items chosen takes it.

    Args:
        config: settings with ``granularity``, ``scope`` (a name or several) and ``layers`` among them.

    Raises:
        SecateurError: the message names the setting and the items that take it.
    """
    choices = {room: _names(getattr(config, field)) for room, field in (("granularity", "granularity"),
                                                                        ("scopes", "scope"))}
    layers = read_layers(getattr(config, "layers", ""))
    kinds = [resolve(kind) for name in choices["granularity"] for kind in kinds_of(name, layers)]
    for one in settings_of(type(config)):
        if (value := getattr(config, one.name)) == one.default:
            continue
        for room, names in choices.items():
            takers = [name for name in registry.files(room) if one.name in _taken_settings(room, name)]
            if takers and not any(one.name in _taken_settings(room, name) for name in names):
                word = registry.ROOMS[room]
                raise SecateurError(f"{one.name}= is for {word} {_quote(takers)}, got {word} {_quote(names)}: "
                                    f"{value} would have no effect")
            if takers and room == "scopes" and all(kind.sparsity is not None for kind in kinds):
                raise SecateurError(f"{one.name}= with granularity {_quote(choices['granularity'])}: {value} would "
                                    "have no effect, because N:M fixes the sparsity of every layer")


def _names(choice: str | tuple[str, ...]) -> tuple[str, ...]:
    return (choice,) if isinstance(choice, str) else choice


def _quote(names: Sequence[str]) -> str:
    return join_words([f"'{name}'" for name in names], "or")


def _taken_settings(room: str, name: str) -> set[str]:
    """The settings that an item takes: its fields, and what has the name of the item itself, such as ``budget``."""
    item: Any = type(resolve(name)) if room == "granularity" else registry.get(room, name)
    return {name, *(field.name for field in fields(item))}


def sample_readers(criterion: str, scope: str, recovery: RecoveryChoice) -> list[str]:
    """Criterion, scope and recoveries, those of them that look at samples.

    >>> sample_readers("wanda", "layer", "none"), sample_readers("magnitude", "owl", "best")
    (['criterion wanda'], ['scope owl', 'recovery best'])
    """
    readers = {f"criterion {criterion}": any(SOURCES[n] for n in as_criterion(criterion)[1].needs if n != "seed"),
               f"scope {scope}": bool(registry.get("scopes", scope).needs),
               **{f"recovery {name_of(item)}": bool(item.needs) for item in recoveries(recovery)}}
    return [name for name, looks in readers.items() if looks]
