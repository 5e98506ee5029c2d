"""What a pruner remembers, as tensors and plain values that ``torch.load(weights_only=True)`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.core.types import Plan

_FORMAT = 1


def state_of(settings: str, steps: int, live: float | None, plan: Plan,
             thresholds: Mapping[str, float]) -> dict[str, Any]:
    """The state: masks bit for bit, the step, the live sparsity, the thresholds, and the settings that they go with."""
    return {"format": _FORMAT, "settings": settings, "steps": steps, "live": live, "asked": plan.sparsity,
            "keeps": {cut.name: cut.keep.clone() for cut in plan.cuts}, "thresholds": dict(thresholds)}


def check_state(state: Mapping[str, Any], settings: str) -> None:
    """Refuse a state that another pruner has saved.

    Raises:
        SecateurError: it is none, or its settings are not these.
    """
    if not isinstance(state, Mapping) or state.get("format") != _FORMAT:
        raise SecateurError(f"state: got a {type(state).__name__} that was not saved by this version of Pruner; "
                            "allowed: the result of Pruner.state_dict()")
    if state["settings"] != settings:
        raise SecateurError(f"state of a pruner with other settings: saved {state['settings']}; this one has "
                            f"{settings}; allowed: equal settings")


def plan_from(plan: Plan, state: Mapping[str, Any]) -> Plan:
    """The plan with the masks of a state in place of its own.

    Raises:
        SecateurError: the state holds other layers, or others of their shapes.
    """
    keeps: Mapping[str, Tensor] = state["keeps"]
    mine = {cut.name: tuple(cut.keep.shape) for cut in plan.cuts}
    theirs = {name: tuple(keep.shape) for name, keep in keeps.items()}
    if mine != theirs:
        differ = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
        raise SecateurError(f"state of another network: {len(differ)} layers differ, first '{differ[0]}': saved "
                            f"{theirs.get(differ[0])}, network {mine.get(differ[0])}")
    cuts = tuple(replace(cut, keep=keeps[cut.name].clone()) for cut in plan.cuts)
    return replace(plan, sparsity=state["asked"], cuts=cuts)
