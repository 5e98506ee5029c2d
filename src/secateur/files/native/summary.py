"""What a file tells of itself: read from its header, no tensor loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from secateur.core.bitmask import unpacked
from secateur.core.paths import path_of
from secateur.files.native.contents import Content
from secateur.files.native.dtypes import NAMES, WORDS
from secateur.files.native.header import BYTES
from secateur.files.native.read import content
from secateur.pruning.history import Step


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of the network in a file.

    Attributes:
        name: in the network.
        dtype: of the network's tensor, such as ``float32``.
        shape: of the network's tensor.
        form: how it is stored: dense, bitmask or csr.
        values: the type of the stored values, such as ``bfloat16``.
        bytes: in the file, without the header.
        nonzeros: how many values have a bit set; of files of format 1 it is not known.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    form: str
    values: str
    bytes: int
    nonzeros: int | None

    @property
    def items(self) -> int:
        """How many values it has."""
        return prod(self.shape)


@dataclass(frozen=True)
class CutFacts:
    """What was cut of one layer or group.

    Attributes:
        name: of the group (neurons) or of the tensor (weights).
        what: neuron or weight.
        step: which of the network's cuts it was, from 1; 0 for weights, which are counted as they are.
        before, after: how many units, or weights that are not zero, there were and are.
    """

    name: str
    what: str
    step: int
    before: int
    after: int


@dataclass(frozen=True)
class FileFacts:
    """What :func:`tell` gives.

    Attributes:
        path: the file.
        format: the version of its format.
        secateur, torch: the versions that wrote it; of format 1 torch's is not known.
        network: the name of the network's class.
        tensors: of the network, in its order.
        cuts: of neurons, each cut in turn, then of weights.
        settings: what was given to :func:`secateur.save`; of a file of ``secateur prune`` its settings and figures.
        runnable: whether :func:`secateur.load` runs it without a factory.
        bytes: of the whole file.
    """

    path: Path
    format: int
    secateur: str
    torch: str
    network: str
    tensors: tuple[TensorFacts, ...]
    cuts: tuple[CutFacts, ...]
    settings: dict[str, Any]
    runnable: bool
    bytes: int

    @property
    def dense_bytes(self) -> int:
        """The bytes of the tensors as they are in memory."""

        return sum(one.items * BYTES[WORDS[one.dtype]] for one in self.tensors)


def tell(path: str | Path) -> FileFacts:
    """What a file of :func:`secateur.save` holds, read from its header alone.

    The checksum of the header is checked, that of the tensors is not.

    Raises:
        SecateurError: the file is missing, damaged, of other origin, or of a later format.

    >>> import tempfile, torch, secateur as sc
    >>> path = sc.save(sc.prune(torch.nn.Linear(64, 64), 0.9), tempfile.mkdtemp() + "/net.safetensors")
    >>> facts = tell(path)
    >>> facts.network, facts.tensors[0].form, facts.cuts[0].before, facts.cuts[0].after
    ('Linear', 'bitmask', 4096, 410)
    """
    found = content(path_of("tell", path))
    tensors = tuple(TensorFacts(name, one.dtype, one.shape, one.form, NAMES[one.values], one.bytes, one.nonzeros)
                    for name, one in found.tensors.items())
    cuts = [cut for i, step in enumerate(found.steps, 1) for cut in neurons(step, i)]
    return FileFacts(found.path, found.version, found.secateur, found.torch, found.network, tensors,
                     (*cuts, *weights(found)), found.settings, found.program > 0, found.header.size)


def neurons(step: Step, number: int) -> list[CutFacts]:
    """What one cut left of each group."""
    return [CutFacts(name, "neuron", number, units, int(unpacked(bits, units).sum()))
            for name, _, units, bits in step.keeps]


def weights(found: Content) -> list[CutFacts]:
    """The tensors of two axes or more that have zeros."""
    return [CutFacts(name, "weight", 0, prod(one.shape), one.nonzeros) for name, one in found.tensors.items()
            if one.nonzeros is not None and len(one.shape) > 1 and one.nonzeros < prod(one.shape)]
