"""What was cut of every tensor in a file: its shape before and after, its zeros, and how it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import torch

from secateur import files
from secateur.files import TensorFacts


def layers(path: str | Path) -> list[TensorFacts]:
    """Every tensor of a file, in the network's order.

    All of it is read from the header, but for the zeros of files of format 1, which are counted.

    Raises:
        SecateurError: the file is missing, damaged or of other origin.

    >>> import tempfile, secateur as sc
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 2))
    >>> small = sc.prune(net, 0.5, granularity="neuron", example=torch.rand(2, 8))
    >>> [(one.name, one.before, one.shape) for one in layers(sc.save(small, tempfile.mkdtemp() + "/net"))][:2]
    [('0.weight', (6, 8), (3, 8)), ('0.bias', (6,), (3,))]
    """
    facts = files.tell(path)
    if all(one.nonzeros is not None for one in facts.tensors):
        return [*facts.tensors]
    held = files.tensors_of(facts.path)
    return [replace(one, nonzeros=int(torch.count_nonzero(held[one.name]))) for one in facts.tensors]


def sparsity(found: Sequence[TensorFacts]) -> float:
    """The fraction of the weights before all cuts, tensors of two axes or more, that are gone or zero."""
    own = [one for one in found if one.weight]
    return 1 - sum(one.nonzeros or 0 for one in own) / max(1, sum(prod(one.before) for one in own))
