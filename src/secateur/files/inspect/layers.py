"""What was cut of every tensor in a file: its shape before and after, its zeros, and how it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from secateur import files
from secateur.files.native.dtypes import WORDS
from secateur.files.native.header import BYTES
from secateur.files.native.read import content
from secateur.files.native.steps import described
from secateur.pruning.history import Step


@dataclass(frozen=True)
class Layer:
    """One tensor of a network in a file.

    Attributes:
        name: in the network.
        dtype: in the network.
        before, after: its shape before the first cut of neurons, and now.
        nonzeros: how many of its values are not zero.
        form, values: how it is stored: dense, bitmask or csr; the type of the stored values.
        bytes: in the file.
    """

    name: str
    dtype: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    nonzeros: int
    form: str
    values: str
    bytes: int

    @property
    def weight(self) -> bool:
        """Whether it has two axes or more: biases, norms and statistics have one."""
        return len(self.after) > 1

    @property
    def zeros(self) -> float:
        """The fraction of its values, of those that are there, that are zero."""
        return 1 - self.nonzeros / max(1, prod(self.after))

    @property
    def sparsity(self) -> float:
        """The fraction of the values before all cuts that are gone or zero."""
        return 1 - self.nonzeros / max(1, prod(self.before))

    @property
    def dense_bytes(self) -> int:
        """The bytes of the tensor before all cuts, in memory."""
        return prod(self.before) * BYTES[WORDS[self.dtype]]


def layers(path: str | Path) -> list[Layer]:
    """Every tensor of a file, in the network's order; the header tells, but for the zeros of files of format 1.

    Raises:
        SecateurError: the file is missing, damaged or of other origin.

    >>> import tempfile, secateur as sc
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 2))
    >>> small = sc.prune(net, 0.5, granularity="neuron", example=torch.rand(2, 8))
    >>> [(one.name, one.before, one.after) for one in layers(sc.save(small, tempfile.mkdtemp() + "/net"))][:2]
    [('0.weight', (6, 8), (3, 8)), ('0.bias', (6,), (3,))]
    """
    facts = files.tell(path)
    before = shapes_before(content(facts.path).steps)
    counts = {one.name: one.nonzeros for one in facts.tensors}
    if any(count is None for count in counts.values()):
        counts = {name: int(torch.count_nonzero(x)) for name, x in files.tensors_of(facts.path).items()}
    return [Layer(one.name, one.dtype, before.get(one.name, one.shape), one.shape, counts[one.name] or 0, one.form,
                  one.values, one.bytes) for one in facts.tensors]


def shapes_before(steps: tuple[Step, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor before the first cut of neurons; empty where there was none."""
    first = steps[0].tensors if steps else {}
    return {name: described(text, f"'{name}'")[1] for name, text in first.items()}


def sparsity(found: Sequence[Layer]) -> float:
    """The fraction of the weights before all cuts, tensors of two axes or more, that are gone or zero."""
    own = [one for one in found if one.weight]
    return 1 - sum(one.nonzeros for one in own) / max(1, sum(prod(one.before) for one in own))
