"""A cut network and one or more recoveries in, the recovered network out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from secateur.core import registry
from secateur.core.errors import CutGraphWarning, SecateurError
from secateur.core.types import Plan
from secateur.data.calibration import Calibration
from secateur.pruning.granularity import GranularityChoice, resolve
from secateur.pruning.signals.base import WORDS
from secateur.recovery.current_plan import current_plan
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.original import Original
from secateur.training.loop import check_finite

RecoveryName = Literal["none", "best", "best-finetune", "distil", "finetune", "gradual", "recalibrate", "rechoose",
                       "reconstruct", "refit", "reinitialised", "rewind", "sparsegpt"]
RecoveryChoice = RecoveryName | str | Recovery | Sequence[str | Recovery]
"""A name, ``pkg.module:Class``, an item with its settings, or a sequence of these, done in its order."""



def recoveries(choice: RecoveryChoice) -> tuple[Recovery, ...]:
    """The recoveries behind names, ``pkg.module:Class``, instances, or a sequence of these, in their order.

    Raises:
        SecateurError: an unknown name, or something that is no recovery.

    >>> [type(r).__name__ for r in recoveries("none")]
    ['Nothing']
    """
    several = choice if isinstance(choice, Sequence) and not isinstance(choice, str) else [choice]
    found = [registry.get("recovery", c) if isinstance(c, str) else c for c in several]
    items = tuple(item() if isinstance(item, type) else item for item in found)
    if wrong := [item for item in items if not isinstance(item, Recovery)]:
        raise SecateurError(f"recovery {wrong[0]!r} is a {type(wrong[0]).__name__}; allowed are a name, a Recovery, "
                            "or a list of these")
    return items


def name_of(item: Recovery) -> str:
    """What a recovery is called where one is asked for.

    >>> name_of(recoveries("best-finetune")[0])
    'best-finetune'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(item).__name__).lower()


def check_recoveries(items: Sequence[Recovery], samples: Calibration | None) -> None:
    """Refuse recoveries that need data, labels or settings that are not there, naming all that is missing."""
    for item in items:
        item.check()
    given = {"data": samples is not None, "labels": samples is not None and samples.labelled}
    missing = {name_of(r): lacking for r in items if (lacking := [n for n in r.needs if not given[n]])}
    if missing:
        wanted = "labels" if any("labels" in names for names in missing.values()) else "data"
        raise SecateurError(f"recovery {', '.join(missing)} needs {WORDS[wanted]}")


def kinds_of(granularity: GranularityChoice, layers: Any = None) -> frozenset[str]:
    """The names of the granularities that a plan of a network may have, those of single layers among them.

    >>> sorted(kinds_of("weight", {"fc": {"granularity": "4x1"}, "head": 0.5}))
    ['4x1', 'weight']
    """
    settings = layers.values() if isinstance(layers, Mapping) else ()
    own = (s["granularity"] for s in settings if isinstance(s, Mapping) and s.get("granularity") is not None)
    return frozenset(resolve(one).name for one in (granularity, *own))


def default_recovery(chosen: bool, kinds: frozenset[str]) -> tuple[str, ...]:
    """The best recovery that needs no labels, and that keeps what a criterion chose, where one was ``chosen``."""
    return ("reconstruct", "distil") if chosen and recoveries("best")[0].chooses(kinds) else ("best",)


def ignored_by(criterion: Any, items: Sequence[Recovery], kinds: frozenset[str], default: str) -> str:
    """The recovery that would choose anew what a criterion other than the default chose; empty where none would."""
    if criterion is None or criterion == default:
        return ""
    return next((name_of(item) for item in items if item.chooses(kinds)), "")


def check_criterion_is_used(criterion: Any, items: Sequence[Recovery], kinds: frozenset[str], default: str) -> None:
    """Refuse a criterion that was asked for beside a recovery that would ignore it."""
    if name := ignored_by(criterion, items, kinds, default):
        said = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", type(criterion).__name__)
        raise SecateurError(f"recovery {name} chooses itself which weights to remove, so criterion '{said}' would "
                            f"have no effect; allowed: recoveries reconstruct and distil, which keep what the "
                            f"criterion chose, or {name} with the default criterion '{default}'")


def recover(model: nn.Module, pruned: nn.Module, plan: Plan, choice: RecoveryChoice, samples: Calibration | None = None,
            seed: int = 0, asked: Original | None = None) -> RecoveryResult:
    """Win accuracy back after a cut, one recovery after the other.

    Each starts from the plan of what is zero by then, see :func:`secateur.recovery.current_plan.current_plan`.

    Args:
        model: the network before the cut; never changed.
        pruned: what :func:`secateur.apply` made of it; it may be changed.
        plan: the plan that was applied.
        choice: names, instances, or a sequence of them.
        samples: calibration samples.
        seed: for a recovery that draws at random.
        asked: what the network before the cut gives for these samples, to be shared by several cuts of it.

    Raises:
        SecateurError: an unknown recovery, missing data or labels, or a network that is no longer finite.
    """
    items = recoveries(choice)
    check_recoveries(items, samples)
    result = RecoveryResult(pruned)
    asked = asked if asked or samples is None else Original(model, samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutGraphWarning)
        for item in items:
            plan = current_plan(plan, result.network)
            made = item.recover(RecoveryContext(model, result.network, plan, samples, seed, asked))
            made = made if isinstance(made, RecoveryResult) else RecoveryResult(made)
            check_finite(made.network, f"recovery {name_of(item)}", "if it trains, use a smaller lr")
            notes = tuple(dict.fromkeys((*result.notes, *made.notes)))
            result = RecoveryResult(made.network, {**result.rows, **made.rows}, notes, (*result.stages, *made.stages))
    return result
