"""Budget: each layer gets the sparsity that meets a budget at the least predicted loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from secateur.core.bounds import above, check_settings, optional, whole
from secateur.core.errors import SecateurError, unknown
from secateur.pruning.costs import RESOURCES, Costs
from secateur.pruning.granularity.base import Layer
from secateur.pruning.knapsack import Numbers, least_loss
from secateur.pruning.scan import Scan
from secateur.pruning.scopes.base import Allocation, ScopeContext
from secateur.pruning.scopes.sensitivity import levels
from secateur.pruning.trial import Bounds

_TRIES = 10
"""Networks that are made and measured at most: each halves what is left between too dear and too cheap."""
_CLOSE = 0.98
"""A network within the limit that costs this share of it is near enough: the search ends."""


@dataclass(frozen=True)
class Budget(Allocation):
    """Parameters, zero-aware FLOPs, bytes or measured milliseconds that the cut network may cost.

    ``Budget("flops")`` goes with a sparsity: at sparsity s, 1 - s of the original's FLOPs stay (``parameters`` where
    nothing is named). ``Budget(ms=2.5, batch=64)`` names an amount; the sparsity is what follows. ``parameters`` are
    those that are not zero, ``flops`` zero-aware and of one sample, ``bytes`` the smallest of dense, bitmask and CSR
    of every tensor, ``ms`` the measured milliseconds of the compiled network on this machine for ``batch`` samples.

    The loss of a layer is what a scan of it says (:mod:`secateur.pruning.scan`), its cost what each count of items
    leaves of the resource: counted, or timed on this machine with the runtime's break-even curves. The cut network is
    then made and measured; where costs do not just add up (neurons, milliseconds), the aim is moved until the network
    itself is within the budget.

    Raises:
        SecateurError: an unknown resource, several at once, an amount or batch that is not above 0, or a batch without
            milliseconds.

    >>> Budget("flops").resource, Budget(ms=0.5, batch=64).amount
    ('flops', 0.5)
    """

    needs = frozenset({"scan", "costs"})

    share: Literal["", "parameters", "flops", "bytes", "ms"] = ""
    parameters: float | None = None
    flops: float | None = None
    bytes: float | None = None
    ms: float | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share and self.share not in RESOURCES:
            raise unknown("budget", str(self.share), RESOURCES)
        if len(named := [self.share, *self._amounts] if self.share else [*self._amounts]) > 1:
            raise SecateurError(f"budget of {' and '.join(named)}: allowed is one of {', '.join(RESOURCES)}, alone or "
                                "with an amount, such as Budget(flops=1e6)")
        amounts = {name: optional(above(0)) for name in RESOURCES}
        check_settings("budget", vars(self), **amounts, batch=whole(1))
        if self.batch != 1 and self.resource != "ms":
            raise SecateurError(f"budget batch {self.batch}: only milliseconds are measured at a batch, got "
                                f"{self.resource}; allowed is such as Budget(ms=2.5, batch=64)")

    @property
    def _amounts(self) -> dict[str, float]:
        return {name: value for name in RESOURCES if (value := getattr(self, name)) is not None}

    @property
    def resource(self) -> str:
        """What is counted."""
        return next(iter(self._amounts), self.share or "parameters")

    @property
    def amount(self) -> float | None:
        """How much of it may stay; None where the sparsity says that."""
        return next(iter(self._amounts.values()), None)

    def __str__(self) -> str:
        batch = f" at batch {self.batch}" if self.resource == "ms" else ""
        return f"budget {self.resource}{batch}" + (f" {self.amount:g}" if self.amount is not None else "")

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every layer go.

        Raises:
            SecateurError: the budget cannot be met; the message says what can.
        """
        assert context.costs is not None
        assert context.scan is not None
        costs, fewest = context.costs, [low for low, _ in bounds]
        limit = self.limit(costs, sparsity)
        if self._cost(fewest, costs, limit) <= limit:
            return fewest
        return self._search(bounds, context.scan, costs, limit)

    @staticmethod
    def _cost(counts: Sequence[int], costs: Costs, limit: float) -> float:
        """What the network costs with these cuts; no copy is made where nothing has to go."""
        return costs.whole if not any(counts) and costs.whole <= limit else costs.of(counts)

    def limit(self, costs: Costs, sparsity: float) -> float:
        """What the network may cost: the amount, or what a sparsity leaves of the original's."""
        return self.amount if self.amount is not None else costs.whole * (1 - sparsity)

    def remarks(self, sparsity: float, counts: Sequence[int], context: ScopeContext) -> list[str]:
        """What the cut network costs, and what it may."""
        costs = context.costs
        assert costs is not None
        limit = self.limit(costs, sparsity)
        return [f"{self.resource}: {self._cost(counts, costs, limit):,.6g} of the original's {costs.whole:,.6g}, "
                f"allowed {limit:,.6g}"]

    def _search(self, bounds: Bounds, scan: Scan, costs: Costs, limit: float) -> list[int]:
        """The counts with the least predicted loss among those tried whose network is within the limit."""
        choices = [levels(low, high) for low, high in bounds]
        prices = [costs.layer(i, c) for i, c in enumerate(choices)]
        losses = [curve.at(c) for curve, c in zip(scan.curves, choices, strict=True)]
        low, high = sum(float(p.min()) for p in prices), sum(float(p.max()) for p in prices)
        aim, best = limit - costs.rest, None
        for _ in range(_TRIES):
            counts = _cheapest_within(choices, prices, losses, max(aim, low))
            real = costs.of(counts)
            if real <= limit:
                best, low = counts, max(aim, low)
                if real >= _CLOSE * limit or costs.exact:
                    break
            else:
                high = aim
            if high - low <= 1e-3 * limit:  # no other counts would come of an aim in between
                break
            aim = (low + high) / 2
        if best is None:
            least = costs.of([int(c[p.argmin()]) for c, p in zip(choices, prices, strict=True)])
            raise SecateurError(f"{self}: asked for {limit:.4g}, the smallest possible value is {least:.4g}, "
                                f"{least / costs.whole:.2%} of the original's {costs.whole:.4g}")
        return best


def _cheapest_within(choices: Sequence[np.ndarray], prices: Sequence[Numbers], losses: Sequence[Numbers],
                     limit: float) -> list[int]:
    """The counts within a limit of the added costs at the least added loss; the cheapest where none is within."""
    found = least_loss(prices, losses, limit) or [int(p.argmin()) for p in prices]
    return [int(c[k]) for c, k in zip(choices, found, strict=True)]


def read_budget(budget: Any) -> dict[str, Any]:
    """The settings of a :class:`Budget` from text or JSON: a resource's name, or a mapping of it to an amount.

    Raises:
        SecateurError: neither.

    >>> read_budget({"ms": 0.5, "batch": 64}), read_budget("flops")
    ({'ms': 0.5, 'batch': 64}, {'share': 'flops'})
    """
    if isinstance(budget, str):
        return {"share": budget}
    pairs = dict(budget) if isinstance(budget, Mapping) else {}
    if len(pairs.keys() - {"batch"}) != 1:
        raise SecateurError(f"budget {budget!r}: allowed is one of {', '.join(RESOURCES)}, alone or with an amount, "
                            "such as {'flops': 1e6}")
    if strange := [name for name in pairs if name not in RESOURCES and name != "batch"]:
        raise unknown("budget", str(strange[0]), RESOURCES)
    return pairs
