"""Two files of pruned networks side by side: tensors, what was cut and how much of it is the same, settings, bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from secateur import files
from secateur.core.bitmask import unpack_bits
from secateur.core.tensors import same_bits, type_and_shape
from secateur.files.inspect.layers import layers, sparsity
from secateur.files.inspect.show import flat
from secateur.pruning.history import Step

_MEASURED = "timing"
_FACTS = ("format", "secateur", "torch", "network", "bits", "bytes")


def compare(a: str | Path, b: str | Path) -> dict[str, Any]:
    """What differs between two files of :func:`secateur.save`.

    Returns:
        Plain data. ``same`` says whether both hold the same network: class, bits of the tensors, cuts and settings.
        How it is stored and which version wrote it make no difference; they are in ``facts``, with the bytes.
        ``only_a``, ``only_b``: names of tensors that one file has. ``shapes``: tensors of different shape or type, as
        ``[a, b]``. ``tensors``: for each other tensor that has zeros or differs, the sparsity in both, the greatest
        difference, and ``common``: the weights that are zero in both as a fraction of those that are zero in either
        (None: none are). ``groups``: the same for the units that each cut of neurons removed; ``common`` is None where
        the groups have different sizes. ``settings``: those that differ, ``[a, b]`` by name, None where one file has
        none; measured times are left out.

    Raises:
        SecateurError: a file is missing, damaged or of other origin.

    >>> import tempfile, secateur as sc
    >>> path = sc.save(torch.nn.Linear(3, 2), tempfile.mkdtemp() + "/net.safetensors")
    >>> compare(path, path)["same"]
    True
    """
    told = files.tell(a), files.tell(b)
    held = [files.tensors_of(one.path) for one in told]
    kept = [_kept_units(one.steps) for one in told]
    known = [flat({k: v for k, v in one.settings.items() if k != _MEASURED}) for one in told]
    found: dict[str, Any] = {
        "a": str(told[0].path), "b": str(told[1].path),
        "facts": {name: [getattr(one, name) for one in told] for name in _FACTS},
        "only_a": sorted(held[0].keys() - held[1].keys()), "only_b": sorted(held[1].keys() - held[0].keys()),
        "shapes": {name: [type_and_shape(one[name]) for one in held] for name in held[0]
                   if name in held[1] and type_and_shape(held[0][name]) != type_and_shape(held[1][name])},
        "tensors": _compare_tensors(*held), "groups": _compare_groups(*kept),
        "settings": {n: [one.get(n) for one in known] for n in sorted(known[0].keys() | known[1].keys())
                     if known[0].get(n) != known[1].get(n)},
        "sparsity": [sparsity(layers(one.path)) for one in told]}
    return {"same": _is_same(found), **found}


def _is_same(found: dict[str, Any]) -> bool:
    """Whether nothing that makes a network another one differs."""
    return not (found["only_a"] or found["only_b"] or found["shapes"] or found["settings"]
                or any(one["differ"] for one in found["tensors"].values())
                or any(one["differ"] for one in found["groups"].values())
                or found["facts"]["network"][0] != found["facts"]["network"][1])


def _compare_tensors(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """For each tensor of the same type and shape: its zeros in both, how many they share, how far its values differ."""
    found = {}
    for name, mine in a.items():
        if name not in b or type_and_shape(mine) != type_and_shape(theirs := b[name]):
            continue
        zeros = mine == 0, theirs == 0
        differ = not same_bits(mine, theirs)
        if differ or (mine.ndim > 1 and bool(zeros[0].any() or zeros[1].any())):
            found[name] = {"differ": differ, "sparsity": [_fraction(z) for z in zeros], "common": _overlap(*zeros),
                           "greatest": _gap(mine, theirs) if differ else 0.0}
    return found


def _compare_groups(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """For each group that was cut in either file: what was removed, and how much of that is the same."""
    found = {}
    for name in [*a, *(n for n in b if n not in a)]:
        gone = [~one[name] if name in one else None for one in (a, b)]
        found[name] = {"units": [None if g is None else len(g) for g in gone],
                       "sparsity": [None if g is None else _fraction(g) for g in gone], **_compare_units(*gone)}
    return found


def _compare_units(a: Tensor | None, b: Tensor | None) -> dict[str, Any]:
    """What two cuts of a group have in common."""
    if a is None or b is None or a.shape != b.shape:
        return {"common": None, "differ": True}
    return {"common": _overlap(a, b), "differ": not torch.equal(a, b)}


def _kept_units(steps: tuple[Step, ...]) -> dict[str, Tensor]:
    """What each cut kept of each group, ``(units,)``; with several cuts the name has the number of the cut."""
    return {f"{name} (cut {number})" if len(steps) > 1 else name: unpack_bits(packed, count)
            for number, step in enumerate(steps, 1) for name, _, count, packed in step.keeps}


def _overlap(a: Tensor, b: Tensor) -> float | None:
    """What is in both sets as a fraction of what is in either; None where both are empty.

    >>> _overlap(torch.tensor([True, True, False]), torch.tensor([False, True, False]))
    0.5
    """
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else None


def _fraction(chosen: Tensor) -> float:
    """The fraction that is true."""
    return int(chosen.sum()) / max(1, chosen.numel())


def _gap(a: Tensor, b: Tensor) -> float | None:
    """The greatest difference of two tensors' values; None where one holds no finite number."""
    found = float((a.double() - b.double()).abs().max()) if not a.is_complex() else float((a - b).abs().max())
    return found if found < float("inf") else None
