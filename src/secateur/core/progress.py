"""What a study reports while it runs; this listener is silent."""

from __future__ import annotations

from typing import Any


class Progress:
    """Is called at every step of a study; a subclass shows what it likes."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins that has ``total`` steps: ``train``, ``measure`` or ``time``."""

    def step(self) -> None:
        """One step of the stage is done."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch of training is done: its number, mean loss, accuracy and seconds."""

    def trained(self, record: dict[str, Any]) -> None:
        """A network has been trained or found in the run."""

    def point(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        """A point has been measured, or timed."""
