"""How one network is cut: one place of a sweep, the settings of one cut."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from secateur.core.errors import SecateurError
from secateur.core.text import bits_name
from secateur.experiment.checks import read_layers
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.scopes import resolve_scope
from secateur.pruning.scopes.base import Scope
from secateur.pruning.scopes.budget import read_budget
from secateur.pruning.spec import PruningSpec
from secateur.recovery.methods.distil import distils
from secateur.recovery.pipeline import RecoveryChoice, recoveries


@dataclass(frozen=True)
class Point:
    """How one network is cut; the field names are those that rows are stored under.

    ``bits`` is what the cut network computes in, ``bits_samples`` how many samples its ranges are taken from.
    """

    granularity: str
    criterion: str
    scope: str
    sparsity: float | None
    skip: tuple[str, ...] | None
    seed: int
    recovery: str | tuple[str, ...] = "none"
    samples: int = 0
    layers: str = ""
    least: float = 0.0
    most: float = 1.0
    pooling: str = "mean"
    budget: str = ""
    round_to: int = 1
    recovery_version: int = 1
    distil_steps: int = 0
    bits: int = 32
    bits_samples: int = 0

    def settings(self) -> dict[str, Any]:
        """The point as plain JSON values; what is at its default is left out, so that earlier rows keep their keys."""
        later = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        return {**{k: v for k, v in asdict(self).items() if v != later.get(k, MISSING)}, "skip": list(self.skip or ())}

    @property
    def is_whole(self) -> bool:
        """Whether nothing goes, of no layer."""
        return self.sparsity == 0 and not self.layers and self.least == 0

    @property
    def in_float32(self) -> Point:
        """The same cut before it is quantised; the point itself where it is not."""
        return replace(self, bits=32, bits_samples=0)

    def __str__(self) -> str:
        recovery = "" if self.recovery == "none" else f", recovery {self.recovery}"
        recovery += "" if self.bits == 32 else f", {bits_name(self.bits)}"
        return (f"{self.granularity} by {self.criterion}, scope {self.scope}{recovery}, sparsity {self.sparsity}, "
                f"seed {self.seed}")

    @property
    def spec(self) -> PruningSpec:
        """The settings as one value, each on the item that it belongs to.

        Raises:
            SecateurError: a value that is not allowed.
        """
        item = configure(resolve(self.granularity), pooling=self.pooling, round_to=self.round_to)
        return PruningSpec(granularity=item, criterion=self.criterion, scope=self._scope(), skip=self.skip,
                           layers=read_layers(self.layers), seed=self.seed)

    def _scope(self) -> Scope:
        settings = _read_budget(self.budget) if self.budget else {}
        return resolve_scope(self.scope, **settings, min_sparsity=self.least, max_sparsity=self.most)


def recovery_settings(choice: RecoveryChoice, distil_steps: int) -> dict[str, int]:
    """What a point keeps of its recoveries beside their names: the meaning of the names, and the steps of distilling.

    >>> recovery_settings("best", 100), recovery_settings("refit", 100)
    ({'recovery_version': 3, 'distil_steps': 100}, {'recovery_version': 2, 'distil_steps': 0})
    """
    items = recoveries(choice)
    return {"recovery_version": max(item.version for item in items),
            "distil_steps": distil_steps if any(map(distils, items)) else 0}


def _read_budget(text: str) -> dict[str, Any]:
    """The settings of a budget from a resource's name, or from JSON such as ``{"ms": 2.5, "batch": 64}``."""
    try:
        return read_budget(json.loads(text) if text.lstrip().startswith("{") else text)
    except json.JSONDecodeError as error:
        raise SecateurError(f"budget {text!r} is not JSON: allowed is a name such as flops, or an amount "
                            'such as {"flops": 1e6}') from error
