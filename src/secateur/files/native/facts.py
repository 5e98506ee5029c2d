"""What the header of a file says of the network in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from secateur.core.bitmask import unpack_bits
from secateur.files.native.dtypes import NAMES, WORDS
from secateur.files.native.header import BYTES, Header
from secateur.files.native.layout import Stored
from secateur.files.native.steps import type_and_shape
from secateur.pruning.history import Step

_FULL = 4
"""Bytes of a weight that became a code or a bfloat16."""


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of the network in a file.

    Attributes:
        name: in the network.
        dtype: of the network's tensor, such as ``float32``.
        before: its shape before the first cut of neurons.
        shape: its shape now.
        form: how it is stored: dense, bitmask or gaps; csr in files of format 2.
        values: the type of the stored values, such as ``bfloat16``.
        bytes: in the file, without the header.
        nonzeros: how many values have a bit set; the header of a file of format 1 does not say.
        full: the bytes that each value took before its layer got fewer bits: 4 for codes and bfloat16, 0 for scales
            and ranges, which were not there.
    """

    name: str
    dtype: str
    before: tuple[int, ...]
    shape: tuple[int, ...]
    form: str
    values: str
    bytes: int
    nonzeros: int | None
    full: int

    @property
    def items(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    @property
    def weight(self) -> bool:
        """Whether it has two axes or more: biases, norms and statistics have one."""
        return len(self.shape) > 1

    @property
    def zeros(self) -> float:
        """The fraction of the values it has now that are zero."""
        return 1 - (self.nonzeros or 0) / max(1, self.items)

    @property
    def sparsity(self) -> float:
        """The fraction of the values before all cuts that are gone or zero."""
        return 1 - (self.nonzeros or 0) / max(1, prod(self.before))

    @property
    def bits(self) -> int:
        """The bits of a value in the network."""
        return 8 * BYTES[WORDS[self.dtype]]

    @property
    def dense_bytes(self) -> int:
        """The bytes of the tensor before all cuts and before its layer got fewer bits, in memory."""
        return prod(self.before) * self.full


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
    """What the header of a file says; :func:`secateur.files.tell` gives it.

    Attributes:
        path: the file.
        format: the version of its format.
        secateur, torch: the versions that wrote it; a file of format 1 does not say which torch.
        network: the name of the network's class.
        stored: how the tensors of the network are stored, in its order.
        constants: the same of tensors of its graph that are none of the network's.
        layers: the kinds of layers in fewer bits by name; of int8 networks also what folded norms have left.
        steps: the cuts of neurons, the first one first.
        settings: what was given to :func:`secateur.save`; of a file of ``secateur prune`` its settings and figures.
        program: the bytes of the network's graph; 0 where the file holds none.
        checksum: of the tensors.
        header: the header itself.
    """

    path: Path
    format: int
    secateur: str
    torch: str
    network: str
    stored: dict[str, Stored]
    constants: dict[str, Stored]
    layers: dict[str, str]
    steps: tuple[Step, ...]
    settings: dict[str, Any]
    program: int
    checksum: str
    header: Header = field(repr=False)

    @cached_property
    def tensors(self) -> tuple[TensorFacts, ...]:
        """The tensors of the network, in its order."""
        first = self.steps[0].tensors if self.steps else {}
        before = {name: type_and_shape(text, f"'{name}'")[1] for name, text in first.items()}
        return tuple(TensorFacts(name, one.dtype, before.get(self._name_before(name), one.shape), one.shape, one.form,
                                 NAMES[one.values], one.bytes, one.nonzeros, self._full(name, one.dtype))
                     for name, one in self.stored.items())

    @property
    def bits(self) -> str:
        """The bits of the weights, tensors of two axes or more: one number, or several, the least first.

        Of int8 and bfloat16 layers 8 and 16.
        """
        return ", ".join(map(str, sorted({one.bits for one in self.tensors if one.weight})))

    def _full(self, name: str, dtype: str) -> int:
        """The bytes that each value of a tensor took before its layer got fewer bits."""
        home = _home(name)
        if self.layers.get(home, "").startswith("Int8") and (part := _part(name)) != "bias":
            return _FULL if part == "codes" else 0
        return _FULL if self.layers.get(_home(home)) == "Bf16Layer" else BYTES[WORDS[dtype]]

    def _name_before(self, name: str) -> str:
        """The name that a tensor had before its layer got fewer bits."""
        home, last = _home(name), name.rpartition(".")[2]
        if self.layers.get(home, "").startswith("Int8") and _part(name) == "codes":
            return f"{home}.{last.replace('codes', 'weight')}".lstrip(".")
        outer = _home(home)
        return f"{outer}.{last}".lstrip(".") if self.layers.get(outer) == "Bf16Layer" else name

    @property
    def cuts(self) -> tuple[CutFacts, ...]:
        """The cuts of neurons, in turn, then the tensors of two axes or more that have zeros."""
        neurons = [CutFacts(name, "neuron", number, units, int(unpack_bits(bits, units).sum()))
                   for number, step in enumerate(self.steps, 1) for name, _, units, bits in step.keeps]
        weights = [CutFacts(one.name, "weight", 0, one.items, one.nonzeros) for one in self.tensors
                   if one.weight and one.nonzeros is not None and one.nonzeros < one.items]
        return (*neurons, *weights)

    @property
    def runnable(self) -> bool:
        """Whether :func:`secateur.load` runs the network without a factory."""
        return self.program > 0

    @property
    def bytes(self) -> int:
        """The bytes of the whole file."""
        return self.header.size

    @property
    def dense_bytes(self) -> int:
        """The bytes of the tensors as they are in memory."""
        return sum(one.dense_bytes for one in self.stored.values())


def _home(name: str) -> str:
    """The name of the module that holds a tensor or a module."""
    return name.rpartition(".")[0]


def _part(name: str) -> str:
    """What a tensor of an int8 layer is: codes, scale, bias, or a range of its inputs or state.

    >>> _part("encoder.codes_ih_l0"), _part("fc.input_scale")
    ('codes', 'input_scale')
    """
    last = name.rpartition(".")[2]
    return next((part for part in ("codes", "scale", "bias") if last.startswith(part)), last)
