"""Sizes that modules remember, set in a cut network so that an attempt can be taken back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from secateur.graph.cut.repair import NAMED, Slot, find


@dataclass(frozen=True, eq=False)
class _Step:
    """One attribute that an attempt sets, with its old and new value; ``note`` is "" for a copied configuration.
    ``path`` is the module that holds it, the whole network for a configuration.
    """

    holder: Any
    path: str
    key: str
    old: Any
    new: Any
    note: str


class Assignment:
    """Remembered sizes set in a network, with what they were, so that an attempt can be taken back."""

    def __init__(self, model: nn.Module):
        self.model = model
        self._steps: list[_Step] = []
        self._values: dict[tuple[int, str], Any] = {}

    @property
    def notes(self) -> list[str]:
        """What is set, one line each."""
        return [step.note for step in self._steps if step.note]

    def make(self, choices: list[tuple[Slot, Any]]) -> Assignment:
        """Set the chosen values; configurations that modules share are copied where these need different ones."""
        for slot, value in choices:
            holder = self._holder(slot, value) if value != slot.old else None
            if holder is not None:
                note = f"{slot.holder}.{slot.key} {slot.old} -> {value}".lstrip(".")
                self._set(holder, "" if slot.in_config else slot.holder, slot.key, value, note)
        return self

    def shrink(self, proved: Callable[[], bool], is_clear: Callable[[str, str, Any], bool]) -> None:
        """Take back what the proof does not need, where the number may equal an old size by chance.

        ``is_clear`` says of a module's path, an attribute's name and its old value whether it means the cut axis.
        """
        guesses = [step for step in self._steps if step.note
                   and not (NAMED.search(step.key) and is_clear(step.path, step.key, step.old))]
        for key in dict.fromkeys(step.key for step in guesses):
            steps = [step for step in guesses if step.key == key]
            for step in steps:
                setattr(step.holder, key, step.old)
            if proved():
                self._steps = [step for step in self._steps if step not in steps]
            else:
                for step in steps:
                    setattr(step.holder, key, step.new)

    def undo(self) -> None:
        """Put everything back, the last first."""
        for step in reversed(self._steps):
            setattr(step.holder, step.key, step.old)

    def _set(self, holder: Any, path: str, key: str, value: Any, note: str = "") -> None:
        self._steps.append(_Step(holder, path, key, getattr(holder, key), value, note))
        setattr(holder, key, value)

    def _holder(self, slot: Slot, value: Any) -> Any:
        """The object that holds a slot: a module, its configuration, or its own copy of one that others share."""
        if not slot.in_config:
            return find(self.model, slot.holder)
        module = find(self.model, slot.holder.rpartition(".")[0])
        if module is None:
            return None
        config: Any = module.config
        if self._values.setdefault((id(config), slot.key), value) != value:
            config = copy.copy(config)
            self._set(module, "", "config", config)
            self._values[id(config), slot.key] = value
        return config
