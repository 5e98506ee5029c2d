"""OBS: scores a weight by the error of its layer without it, after a refit of the other weights."""

from __future__ import annotations

from torch import Tensor

from secateur.core.linalg import damp, inverse
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Obs(Criterion):
    """Score a weight by ``w**2 / [H^-1]_jj`` (Hassibi and Stork, *Optimal Brain Surgeon*, NeurIPS 1992), layer by
    layer as Dong et al. (*Layer-wise Optimal Brain Surgeon*, NeurIPS 2017) do: ``H`` is the Gram matrix of the
    layer's inputs, 1% of its mean added to its diagonal, so that the score is the mean squared change of the output.

    >>> import torch
    >>> Obs().score(torch.tensor([[2.0, 1.0]]), Signals(input_gram=torch.diag(torch.tensor([1.0, 9.0]))[None]))
    tensor([[4.2000, 9.0500]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"input_gram"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """w² / [H⁻¹]ⱼⱼ, in the shape of ``weight``, in squared units of the output."""
        gram = have(signals.input_gram)
        change = inverse(damp(gram)).diagonal(dim1=1, dim2=2)
        rows = weight.double().view(len(gram), -1, gram.shape[-1])
        return (rows.square() / change[:, None]).view(weight.shape).to(weight.dtype)
