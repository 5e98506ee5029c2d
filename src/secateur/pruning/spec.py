"""What follows where a criterion or a sparsity was not named, and what contradicts what was."""

from __future__ import annotations

from secateur.core.errors import SecateurError
from secateur.pruning.budget import Budget
from secateur.pruning.granularity import resolve
from secateur.pruning.ranking import check_sparsity


def default_criterion(granularity: str, informed: bool) -> str:
    """The criterion of a granularity where none is named, with samples or without."""
    item = resolve(granularity)
    return (item.informed_criterion if informed else "") or item.default_criterion


def asked(granularity: str, scope: str, budget: Budget | None, sparsity: float | None) -> float:
    """The sparsity that was asked for, or that follows from N:M; 0 where an amount as budget decides.

    Raises:
        SecateurError: it is missing, contradicts the others, or is not in [0, 1).
    """
    fixed = resolve(granularity).sparsity
    if fixed is not None:
        return follows(granularity, fixed, sparsity)
    amount = budget is not None and budget.amount is not None
    if sparsity is None and amount:
        return 0.0
    if sparsity is None:
        raise SecateurError(f"sparsity is missing: granularity '{granularity}' and scope '{scope}' need "
                            "one in [0, 1), such as 0.9")
    if amount:
        raise SecateurError(f"sparsity {sparsity!r} and {budget}: allowed is one of them; a budget's name "
                            "alone goes with a sparsity")
    return check_sparsity(sparsity)


def follows(written: str, fixed: float, sparsity: float | None) -> float:
    """The sparsity that N:M has, if nothing else was asked; 0 removes nothing."""
    if sparsity not in (None, 0, fixed):
        raise SecateurError(f"sparsity {sparsity!r} of granularity '{written}': that has {fixed:g}; leave the sparsity "
                            "out, or give it (0 removes nothing)")
    return fixed if sparsity is None else float(sparsity)
