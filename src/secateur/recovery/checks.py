"""Refusals of networks and plans that a recovery cannot work on."""

from __future__ import annotations

from torch import nn

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.recovery.methods.base import RecoveryContext


def check_learns(recovery: str, model: nn.Module) -> None:
    """Refuse to train a network of which nothing learns.

    Raises:
        SecateurError: all its parameters are frozen.
    """
    parameters = list(model.parameters())
    if not any(p.requires_grad for p in parameters):
        raise SecateurError(f"recovery {recovery}: none of the {len(parameters)} parameters is trainable "
                            "(requires_grad is False): call requires_grad_(True) on some, or use a recovery that does "
                            "not train")


def check_single_weights(recovery: str, context: RecoveryContext) -> None:
    """Refuse plans whose items are no single weights.

    Raises:
        UnsupportedError: some are blocks, neurons or others.
    """
    if others := context.granularities - {"weight"}:
        raise UnsupportedError(f"recovery {recovery} takes plans of granularity 'weight', got '{min(others)}': "
                               "use reconstruct, which keeps what the plan keeps")
