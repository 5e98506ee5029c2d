"""A cut network and one or more recoveries in, the recovered network out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from secateur.core import registry
from secateur.core.errors import CutGraphWarning, SecateurError
from secateur.core.types import Plan
from secateur.data.calibration import Calibration
from secateur.pruning.granularity import GranularityChoice, resolve
from secateur.recovery.current_plan import standing
from secateur.recovery.methods.base import Patient, Recovery

RecoveryName = Literal["none", "best", "best-finetune", "finetune", "gradual", "recalibrate", "rechoose", "reconstruct",
                       "reinitialised", "rewind", "sparsegpt"]
RecoveryChoice = RecoveryName | str | Recovery | Sequence[str | Recovery]
"""A name, ``pkg.module:Class``, an item with its settings, or a sequence of these, done in its order."""

WORDS = {"data": "data= (inputs)", "labels": "data= with labels, pairs (inputs, labels)"}


def recoveries(choice: RecoveryChoice) -> tuple[Recovery, ...]:
    """The recoveries behind names, ``pkg.module:Class``, instances, or a sequence of these, in their order.

    Raises:
        SecateurError: an unknown name, or something that is no recovery.

    >>> [type(r).__name__ for r in recoveries("none")]
    ['Nothing']
    """
    several = list(choice) if isinstance(choice, Sequence) and not isinstance(choice, str) else [choice]
    found = [registry.get("recovery", c) if isinstance(c, str) else c for c in several]
    made = tuple(item() if isinstance(item, type) else item for item in found)
    for item in made:
        if not isinstance(item, Recovery):
            raise SecateurError(f"recovery {item!r} is a {type(item).__name__}; allowed are a name, a Recovery, "
                                "or a list of these")
    return made


def named(item: Recovery) -> str:
    """What a recovery is called where one is asked for.

    >>> named(recoveries("best-finetune")[0])
    'best-finetune'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(item).__name__).lower()


def check_recoveries(items: Sequence[Recovery], samples: Calibration | None) -> None:
    """Refuse recoveries that need data, labels or settings that are not there, naming all that is missing."""
    for item in items:
        item.check()
    given = {"data": samples is not None, "labels": samples is not None and samples.labelled}
    missing = {named(r): lacking for r in items if (lacking := [n for n in r.needs if not given[n]])}
    if missing:
        wanted = dict.fromkeys("labels" if "labels" in names else "data" for names in missing.values())
        got = ", ".join(n for n, there in given.items() if there) or "nothing"
        raise SecateurError(f"recovery {', '.join(missing)} needs {' and '.join(WORDS[w] for w in wanted)}; got {got}")


def kinds_of(granularity: GranularityChoice, layers: Any = None) -> frozenset[str]:
    """The names of the granularities that a plan of a network may have, those of single layers among them.

    >>> sorted(kinds_of("weight", {"fc": {"granularity": "4x1"}, "head": 0.5}))
    ['4x1', 'weight']
    """
    settings = layers.values() if isinstance(layers, Mapping) else ()
    own = (s["granularity"] for s in settings if isinstance(s, Mapping) and s.get("granularity") is not None)
    return frozenset(resolve(one).name for one in (granularity, *own))


def default_recovery(chosen: bool, kinds: frozenset[str]) -> str:
    """The best that needs no labels: of those that keep what a criterion chose, where one was ``chosen``."""
    return "reconstruct" if chosen and recoveries("best")[0].chooses(kinds) else "best"


def unheard(criterion: Any, items: Sequence[Recovery], kinds: frozenset[str], default: str) -> str:
    """The recovery that would choose anew what a criterion other than the default chose; empty where none would."""
    if criterion is None or criterion == default:
        return ""
    return next((named(item) for item in items if item.chooses(kinds)), "")


def check_heard(criterion: Any, items: Sequence[Recovery], kinds: frozenset[str], default: str) -> None:
    """Refuse a criterion that was asked for beside a recovery that would not heed it."""
    if name := unheard(criterion, items, kinds, default):
        said = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", type(criterion).__name__)
        raise SecateurError(f"recovery {name} chooses itself which weights go, so criterion '{said}' would decide "
                            f"nothing; allowed: recovery reconstruct, which keeps what the criterion chose, or {name} "
                            f"with the default criterion '{default}'")


def recover(model: nn.Module, pruned: nn.Module, plan: Plan, choice: RecoveryChoice, samples: Calibration | None = None,
            seed: int = 0, seen: dict[str, tuple[int, int]] | None = None) -> nn.Module:
    """Win accuracy back after a cut, one recovery after the other.

    Each starts from the plan of what is zero by then, see :func:`secateur.recovery.current_plan.standing`.

    Args:
        model: the network before the cut; never changed.
        pruned: what :func:`secateur.apply` made of it; it may be changed.
        plan: the plan that was applied.
        choice: names, instances, or a sequence of them.
        samples: calibration samples.
        seed: for a recovery that draws at random.
        seen: takes what :attr:`~secateur.recovery.methods.base.Patient.seen` does.

    Raises:
        SecateurError: an unknown recovery, missing data or labels, or a network that is no longer finite.
    """
    items = recoveries(choice)
    check_recoveries(items, samples)
    patient = Patient(model, pruned, plan, samples, seed, {} if seen is None else seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutGraphWarning)
        for item in items:
            patient = replace(patient, plan=standing(patient.plan, patient.pruned))
            patient = replace(patient, pruned=item.recover(patient))
            check_numbers(named(item), patient.pruned)
    return patient.pruned


def check_numbers(recovery: str, network: nn.Module) -> None:
    """Refuse to hand out a network that a recovery broke, naming the tensor.

    Raises:
        SecateurError: a parameter holds NaN or infinite values.
    """
    for name, parameter in network.named_parameters():
        if wrong := int((~torch.isfinite(parameter)).sum()):
            raise SecateurError(f"recovery {recovery} left {wrong} NaN or infinite values of {parameter.numel()} in "
                                f"'{name}'; allowed are finite ones: where it trains, take a smaller lr")


