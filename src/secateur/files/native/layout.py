"""What stands where in a file, described once for the writer, the reader and the count of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.core.tensors import dtype_name
from secateur.files.native import dtypes, gaps, sparse, strict
from secateur.files.native.gaps import Gaps
from secateur.files.native.header import BYTES, Header

VERSION = 3
FORMAT = "secateur network"
OURS = ":"
PROGRAM = ":program"
CHECKSUM = '"checksum":"{}"'
_UNSIGNED = {1: "U8", 2: "U16", 4: "U32", 8: "U64"}
Parts = dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Stored:
    """One tensor of a network as a file holds it.

    Attributes:
        dtype: of the network's tensor, in the words of torch.
        shape: of the network's tensor.
        form: dense, bitmask or gaps; csr in files of format 2.
        values: the type of the stored values, in the words of safetensors; narrower than ``dtype`` where ``save`` was
            asked for that.
        nonzeros: how many values have a bit set; None for a file of format 1, which does not say.
        gaps: how their places are coded in that form.
    """

    dtype: str
    shape: tuple[int, ...]
    form: str
    values: str
    nonzeros: int | None
    gaps: Gaps | None = None

    @property
    def sizes(self) -> sparse.Sizes:
        """The sizes that its forms are counted by."""
        return sparse.sizes(self.shape, BYTES[self.values], self.nonzeros or 0)

    @property
    def bytes(self) -> int:
        """Its bytes in the file, without the header."""
        return self.gaps.bytes(BYTES[self.values]) if self.gaps else self.sizes.bytes(self.form)

    @property
    def whole_bytes(self) -> int:
        """Its bytes in the file, and about those of its lines in the header."""
        return self.bytes + sparse.ENTRY * len(sparse.FORMS[self.form])

    @property
    def dense_bytes(self) -> int:
        """The bytes of the network's tensor."""
        return prod(self.shape) * BYTES[dtypes.WORDS[self.dtype]]


def describe(tensor: Tensor, what: str) -> Stored:
    """The form in which a tensor takes the fewest bytes."""
    word, shape = dtypes.word_of(tensor, what), tuple(tensor.shape)
    dense = Stored(dtype_name(tensor.dtype), shape, "dense", word, sparse.count_stored(tensor))
    if dense.nonzeros == tensor.numel() or tensor.element_size() > 8:
        return dense
    tried = dense, replace(dense, form="bitmask"), replace(dense, form="gaps", gaps=gaps.shortest(tensor))
    return min(tried, key=lambda one: one.whole_bytes)


def encode(tensor: Tensor, told: Stored) -> tuple[sparse.Bytes, ...]:
    """The parts of a tensor as bytes, in the order of :func:`parts`."""
    return gaps.encode(tensor, told.gaps) if told.gaps else sparse.encode(tensor, told.form)


def decode(own: tuple[sparse.Bytes, ...], told: Stored, what: str) -> Tensor:
    """The tensor of its parts, in the type of the stored values.

    Raises:
        SecateurError: its places do not add up.
    """
    if told.gaps:
        return gaps.decode(own[0], own[1], told.gaps, values(told), told.shape, what)
    return sparse.decode(own, told.form, values(told), told.shape, what)


def parts(name: str, told: Stored) -> Parts:
    """The entries of a tensor in the file: type and shape by name."""
    if told.form == "dense":
        return {name: (told.values, told.shape)}
    if told.gaps:
        return {f"{name}:gaps": ("U8", (told.gaps.index,)), f"{name}:values": (told.values, (told.gaps.values,))}
    count, sizes = told.nonzeros or 0, told.sizes
    known: dict[str, tuple[str, int]] = {
        ":mask": ("U8", ceil(sizes.items / 8)), ":values": (told.values, count),
        ":rows": (_UNSIGNED[sparse.byte_width(count)], sizes.rows + 1),
        ":columns": (_UNSIGNED[sparse.byte_width(max(sizes.columns - 1, 0))], count)}
    return {name + end: (known[end][0], (known[end][1],)) for end in sparse.FORMS[told.form]}


def entries(tensors: Mapping[str, Stored], program: int = 0) -> Parts:
    """Every entry of a file in the order of its bytes.

    The widest types come first, so that every entry is aligned to its type without padding.

    Raises:
        SecateurError: two tensors would have one name.
    """
    found: Parts = {PROGRAM: ("U8", (program,))} if program else {}
    for name, told in tensors.items():
        own = parts(name, told)
        if twice := sorted(found.keys() & own.keys()) or [n for n in own if n == "__metadata__"]:
            raise SecateurError(f"save: tensor '{name}' needs the name '{twice[0]}', which the file needs for another "
                                "part: rename its module")
        found |= own
    return dict(sorted(found.items(), key=lambda item: -BYTES[item[1][0]]))


def header(metadata: Mapping[str, str], placed: Parts) -> bytes:
    """The header with a checksum of eight zeros, padded so that the tensors begin at a multiple of eight bytes."""
    at, told = 0, dict[str, Any]()
    for name, (word, shape) in placed.items():
        end = at + prod(shape) * BYTES[word]
        told[name] = {"dtype": word, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps({"__metadata__": {"checksum": "0" * 8, **metadata}, **told}, separators=(",", ":"),
                      ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8)


def all_dense(found: Header) -> dict[str, Stored]:
    """How the tensors of a plain safetensors file are stored."""
    return {name: Stored(dtypes.NAMES[one.dtype], one.shape, "dense", one.dtype, None)
            for name, one in found.entries.items()}


def tensors_as_text(tensors: Mapping[str, Stored]) -> str:
    """The tensors as the header describes them."""
    return json.dumps({name: _told(one) for name, one in tensors.items()}, separators=(",", ":"))


def _told(one: Stored) -> dict[str, Any]:
    """One tensor as JSON."""
    told = asdict(one)
    given = told.pop("gaps")
    return {**told, "gaps": list(given.values())} if given else told


def read_tensors(text: str, where: str) -> dict[str, Stored]:
    """What :func:`tensors_as_text` wrote.

    Raises:
        SecateurError: a type, shape, form or count that cannot be.
    """
    read = strict.typed(strict.read_json(text, where), dict, where)
    return {name: _read_tensor(value, f"{where}, '{strict.short(name)}'") for name, value in read.items()}


def _read_tensor(value: Any, what: str) -> Stored:
    """The description of one tensor, checked; it may not claim far more memory than the bytes that the file has."""
    names = {"dtype", "shape", "form", "values", "nonzeros"}
    coded = isinstance(value, dict) and value.get("form") == "gaps"
    told = strict.fields(value, names | {"gaps"} if coded else names, what)
    shape = strict.shape(told["shape"], f"{what}: shape")
    dtypes.dtype_of(told["dtype"], f"{what}: dtype")
    values, form = (strict.typed(told[key], str, f"{what}: {key}") for key in ("values", "form"))
    narrow = told["dtype"] in ("float32", "float64") and values in ("BF16", "F16")
    if not narrow and values != dtypes.WORDS[told["dtype"]]:
        raise SecateurError(f"{what}: {told['dtype']} is declared as stored in '{strict.short(values)}'")
    nonzeros = strict.size(told["nonzeros"], f"{what}: nonzeros")
    if form not in sparse.FORMS or nonzeros > prod(shape):
        raise SecateurError(f"{what}: {nonzeros} values of {prod(shape)} in form '{strict.short(form)}'; "
                            f"allowed: {', '.join(sparse.FORMS)}")
    found = Stored(told["dtype"], shape, form, values, nonzeros, _read_gaps(told["gaps"], shape, what) if coded else
                   None)
    width = BYTES[dtypes.WORDS[found.dtype]] // BYTES[values]
    if found.dense_bytes > sparse.BOUND * width * max(found.bytes, 1):
        raise SecateurError(f"{what}: {list(shape)} from {found.bytes} bytes is more than {sparse.BOUND} times as "
                            "many; such a file is not opened")
    return found


def _read_gaps(value: Any, shape: tuple[int, ...], what: str) -> Gaps:
    """How the places of a tensor are coded, checked."""
    told = [strict.size(one, f"{what}: gaps") for one in strict.typed(value, list, f"{what}: gaps")]
    if len(told) != len(fields(Gaps)) or not (found := Gaps(*told)).fits(shape):
        raise SecateurError(f"{what}: its gaps {strict.short(told)} are no code of a tensor of {list(shape)}")
    return found


def dtype(told: Stored) -> torch.dtype:
    """The type of the network's tensor."""
    return dtypes.dtype_of(told.dtype, "a tensor")


def values(told: Stored) -> torch.dtype:
    """The type of the stored values."""
    return dtypes.dtype_of(dtypes.NAMES[told.values], "values")
