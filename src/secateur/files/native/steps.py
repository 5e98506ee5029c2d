"""The cuts of neurons in the header of a file, checked before anything is done with them."""

from __future__ import annotations

import base64
import binascii
import re
from math import ceil, prod
from typing import Any

from secateur.core import pytree
from secateur.core.bitmask import unpack_bits
from secateur.core.errors import SecateurError
from secateur.files.native import dtypes, strict
from secateur.pruning.history import Step

_LARGEST = 2**28
_TENSOR = re.compile(r"([a-z0-9_]{1,20})(\[[0-9, ]{0,2000}\])")


def read_steps(told: Any, where: str) -> tuple[Step, ...]:
    """The cuts, the first one first.

    Raises:
        SecateurError: one is not as :func:`secateur.save` writes it.
    """
    return tuple(_read_step(one, where) for one in strict.typed(told, list, where))


def _read_step(value: Any, where: str) -> Step:
    """One cut."""
    told = strict.fields(value, {"tensors", "keeps", "example", "proved"}, where)
    tensors = strict.typed(told["tensors"], dict, where)
    for name, text in tensors.items():
        type_and_shape(text, f"{where}, '{strict.short(name)}'")
    keeps = tuple(_read_keep(one, where) for one in strict.typed(told["keeps"], list, where))
    if len({keep[1] for keep in keeps}) != len(keeps):
        raise SecateurError(f"{where} cut a group twice in one step")
    example = check_leaves(told["example"], where)
    return Step(dict(tensors), keeps, example, strict.typed(told["proved"], bool, where))


def check_leaves(value: Any, where: str) -> str:
    """The inputs of a trace as text: empty, or JSON that describes each of them."""
    example = strict.typed(value, str, where)
    for leaf in pytree.leaves(strict.read_json(example, where)) if example else ():
        _check_leaf(leaf, f"{where}, an input")
    return example


def type_and_shape(text: Any, what: str) -> tuple[str, tuple[int, ...]]:
    """Type and shape from a text such as ``float32[4, 3]``."""
    if not (match := _TENSOR.fullmatch(strict.typed(text, str, what))):
        raise SecateurError(f"{what} is declared as '{strict.short(text)}', allowed is such as float32[4, 3]")
    dtypes.dtype_of(match[1], what)
    return match[1], strict.shape(strict.read_json(match[2], what), what)


def _read_keep(value: Any, where: str) -> tuple[str, str, int, str]:
    """What is kept of one group: its name, its digest, the number of its units, and a bit for each."""
    told = strict.typed(value, list, where)
    if len(told) != 4:
        raise SecateurError(f"{where} hold {len(told)} values for a group; expected 4")
    name, key, bits = (strict.typed(told[i], str, where) for i in (0, 1, 3))
    units = strict.size(told[2], where)
    packed = _from_base64(bits, where)
    if len(packed) != ceil(units / 8) or not unpack_bits(bits, units).any():
        raise SecateurError(f"{where} of group '{strict.short(name)}' do not match its {units} units: they cover "
                            f"{8 * len(packed)}, or keep none")
    return name, key, units, bits


def _from_base64(text: str, where: str) -> bytes:
    """The bytes of a text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecateurError(f"{where} hold bits that are not valid base64") from error


def _check_leaf(value: Any, what: str) -> None:
    """Refuse an input that is neither a plain value nor a tensor by type, shape and bounds or bits."""
    told = strict.typed(value, dict, what)
    if set(told) == {"value"}:
        if type(told["value"]) not in pytree.PLAIN:
            raise SecateurError(f"{what} is {strict.kind_of(told['value'])}, allowed are plain values")
        return
    kind = dtypes.dtype_of(told.get("dtype"), what)
    sides = strict.shape(told.get("shape"), what)
    if kind.is_floating_point or kind.is_complex:
        strict.fields(told, {"dtype", "shape"}, what)
    elif "bits" in told:
        bits = strict.typed(strict.fields(told, {"dtype", "shape", "bits"}, what)["bits"], str, what)
        if len(_from_base64(bits, what)) != ceil(prod(sides) / 8):
            raise SecateurError(f"{what} has bits that do not match its shape")
    else:
        read = strict.fields(told, {"dtype", "shape", "least", "most"}, what)
        least, most = strict.typed(read["least"], int, what), strict.typed(read["most"], int, what)
        if not -strict.MOST < least <= most < strict.MOST:
            raise SecateurError(f"{what} has invalid bounds, from {least} to {most}")


def check_example(example: str, where: str) -> None:
    """Refuse inputs, described as text, that would take more memory than :data:`_LARGEST` bytes.

    Raises:
        SecateurError: they would; no file decides how much memory is taken.
    """
    told = pytree.leaves(strict.read_json(example, where)) if example else []
    needed = sum(8 * prod(one["shape"]) for one in told if "shape" in one)
    if needed > _LARGEST:
        raise SecateurError(f"{where} were traced with inputs of {needed} bytes, more than {_LARGEST}: give example=, "
                            "inputs like those")
