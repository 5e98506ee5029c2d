"""What a study reports while it runs; this listener is silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Progress:
    """Is called at every step of a study; a subclass shows what it likes."""

    def outlook(self, found: Mapping[str, int], missing: Mapping[str, int], seconds: float | None) -> None:
        """What lies ahead, once before the first stage.

        Args:
            found, missing: how many rows of each kind (``network``, ``scan``, ``point``, ``timing``) the run's folder
                holds, and how many are to be made.
            seconds: how long that is expected to take, from what such steps took in this folder before; None where
                that is not known yet.
        """

    def stage(self, name: str, total: int) -> None:
        """A stage begins that has ``total`` steps: ``train``, ``scan``, ``measure`` or ``time``, each again for every
        trained network; of a single cut ``cut`` or ``search``."""

    def step(self) -> None:
        """One step of the stage is done."""

    def left(self, seconds: float) -> None:
        """From here to the end of the study so many seconds are expected; comes at most about once a second."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch of training is done: its number, mean loss, accuracy and seconds."""

    def trained(self, record: dict[str, Any]) -> None:
        """A network has been trained or found in the run."""

    def point(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        """A point has been measured, or timed."""

    def reported(self, path: Path) -> None:
        """The report was written, with what there is so far."""
