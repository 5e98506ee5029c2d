"""Knowledge distillation: the pruned network learns from the outputs of the dense one."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from secateur.core.errors import SecateurError
from secateur.data.calibration import Loss


def distillation(outputs: Tensor, teacher: Tensor, labels: Any = None, temperature: float = 4.0, share: float = 0.9,
                 loss: Loss = F.cross_entropy) -> Tensor:
    """A loss that compares with the teacher's class probabilities as well as with the labels.

    ``share * T**2 * KL(softmax(teacher / T) || softmax(outputs / T)) + (1 - share) * loss(outputs, labels)``; the
    divergence is the mean over all rows of logits (Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural
    Network*, 2015).

    Args:
        outputs: logits of the network that learns, ``(n, ..., classes)``.
        teacher: logits of the dense network for the same inputs, in the same shape; no gradient flows into them.
        labels: what ``loss`` takes, for the cross-entropy ``(n,)``, int64; without them the teacher alone counts,
            whatever ``share`` is.
        temperature: above 1, the probabilities of wrong classes count for more.
        share: of the teacher, in [0, 1].
        loss: of outputs and labels; by default the cross-entropy.

    Raises:
        SecateurError: shapes that differ, a temperature that is not above 0, a share outside [0, 1].

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> float(distillation(logits, logits))
    0.0
    """
    _check(outputs, teacher, temperature, share)
    goal, given = (F.log_softmax(logits.flatten(0, -2) / temperature, 1) for logits in (teacher.detach(), outputs))
    divergence = temperature ** 2 * F.kl_div(given, goal, reduction="batchmean", log_target=True)
    return divergence if labels is None else share * divergence + (1 - share) * loss(outputs, labels)


def _check(outputs: Tensor, teacher: Tensor, temperature: float, share: float) -> None:
    if outputs.shape != teacher.shape or outputs.ndim < 2:
        raise SecateurError(f"logits of shape {tuple(outputs.shape)}, the teacher's {tuple(teacher.shape)}: allowed "
                            "are two of the same shape (n, ..., classes)")
    if not temperature > 0 or not 0 <= share <= 1:
        raise SecateurError(f"temperature {temperature!r}, share {share!r}: allowed are a temperature above 0 and a "
                            "share in [0, 1]")
