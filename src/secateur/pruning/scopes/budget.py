"""Budget: each layer loses what brings the network within a budget at the least predicted loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.core.errors import SecateurError
from secateur.pruning.budget import Budget as Allowance
from secateur.pruning.granularity.base import Layer
from secateur.pruning.scopes._costs import Costs, costs
from secateur.pruning.scopes._knapsack import Numbers, least_loss
from secateur.pruning.scopes._scan import scanned
from secateur.pruning.scopes.base import Allocation, Bounds, Given
from secateur.pruning.scopes.sensitivity import levels

TRIES = 10
CLOSE = 0.98


class Budget(Allocation):
    """Parameters, zero-aware FLOPs, bytes or measured milliseconds that the cut network may cost.

    The loss of a layer is what a scan of it says (:mod:`secateur.pruning.scopes._scan`), its cost what each count of
    items leaves of the resource: counted, or timed on this machine with the runtime's break-even curves. The cut
    network is then made and measured; where costs do not just add up (neurons, milliseconds), the aim is moved until
    the network itself is within the budget. The sparsity of the plan is what follows; where the budget has no
    amount, ``sparsity`` says which fraction of the original's cost goes.
    """

    needs = frozenset({"samples", "budget"})

    def __init__(self) -> None:
        self._priced: Costs | None = None

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, given: Given) -> list[int]:
        """How many items of every layer go.

        Raises:
            SecateurError: the budget cannot be met; the message says what can.
        """
        assert given.budget is not None
        priced = self._priced = self._priced or costs(given.budget, layers, given)
        whole = priced.real(given.model)
        limit = allowed(given.budget, whole, sparsity)
        least = [low for low, _ in bounds]
        real = whole if whole <= limit and not any(least) else priced.real(built(given, least))
        counts, real = (least, real) if real <= limit else met(bounds, given, priced, limit)
        given.tell(f"{given.budget.resource}: {real:,.6g} of the original's {whole:,.6g}, allowed {limit:,.6g}")
        return counts


def allowed(budget: Allowance, whole: float, sparsity: float) -> float:
    """The amount of a budget, or what a sparsity leaves of the original's."""
    return budget.amount if budget.amount is not None else whole * (1 - sparsity)


def met(bounds: Bounds, given: Given, priced: Costs, limit: float) -> tuple[list[int], float]:
    """The counts with the least predicted loss among those tried whose network is within the limit, and its cost."""
    found = scanned(given)
    choices = [levels(low, high) for low, high in bounds]
    prices = [priced.layer(i, c) for i, c in enumerate(choices)]
    losses = [curve.at(c) for curve, c in zip(found.curves, choices, strict=True)]
    low, high = sum(float(p.min()) for p in prices), sum(float(p.max()) for p in prices)
    aim, best = limit - priced.rest, None
    for _ in range(TRIES):
        counts = chosen(choices, prices, losses, max(aim, low))
        real = priced.real(built(given, counts))
        if real <= limit:
            best, low = (counts, real), max(aim, low)
            if real >= CLOSE * limit or priced.exact:
                break
        else:
            high = aim
        if high - low <= 1e-3 * limit:
            break
        aim = (low + high) / 2
    if best is None:
        least = priced.real(built(given, [int(c[p.argmin()]) for c, p in zip(choices, prices, strict=True)]))
        whole = priced.real(given.model)
        raise SecateurError(f"{given.budget}: asked for {limit:.4g}, the least that can be reached is {least:.4g}, "
                            f"{least / whole:.2%} of the original's {whole:.4g}")
    return best


def built(given: Given, counts: Sequence[int]) -> object:
    """The network with so many items of each layer cut."""
    assert given.network is not None
    return given.network(counts)


def chosen(choices: Sequence[np.ndarray], prices: Sequence[Numbers], losses: Sequence[Numbers],
           limit: float) -> list[int]:
    """The counts within a limit of the added costs at the least added loss; the cheapest where none is within."""
    found = least_loss(prices, losses, limit) or [int(p.argmin()) for p in prices]
    return [int(c[k]) for c, k in zip(choices, found, strict=True)]
