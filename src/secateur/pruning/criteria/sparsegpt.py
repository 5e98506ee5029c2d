"""SparseGPT: scores a weight as OBS does, when only the weights after it are refitted."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.core.linalg import damp, inverse
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Sparsegpt(Criterion):
    """Score a weight by ``w**2 / c**2`` with ``c`` the diagonal of the upper Cholesky factor of ``H^-1``
    (Frantar and Alistarh, *SparseGPT*, ICML 2023): what OBS gives for a weight when only those after it
    can still be refitted. The whole row is one block here; the paper's mask and updates in blocks of
    columns are the recovery ``sparsegpt``.

    >>> Sparsegpt().score(torch.tensor([[2.0, 1.0]]), Signals(input_gram=torch.diag(torch.tensor([1.0, 9.0]))[None]))
    tensor([[4.2000, 9.0500]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"input_gram"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """w² / c², in the shape of ``weight``, in squared units of the output."""
        gram = have(signals.input_gram)
        factor = torch.linalg.cholesky(inverse(damp(gram)), upper=True).diagonal(dim1=1, dim2=2)
        rows = weight.double().view(len(gram), -1, gram.shape[-1])
        return (rows / factor[:, None]).square().view(weight.shape).to(weight.dtype)
