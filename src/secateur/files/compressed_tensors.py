"""Hugging Face's ``compressed-tensors``: the sparse-bitmask layout, written and read.

A matrix ``NAME.weight`` is four tensors: ``NAME.shape``, ``NAME.compressed`` (the values that have a bit set),
``NAME.bitmask`` (a bit a value, eight in a byte, lowest first, each row by itself) and ``NAME.row_offsets`` (where each
row's values begin). Everything else is dense under its own name. Version 0.10 of the package writes and reads whole
networks in it; version 0.20 calls it legacy and has its settings and the packing of bits, which are used here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import MissingExtraError, SecateurError
from secateur.core.paths import path_of, write_whole
from secateur.files.native import read, sparse
from secateur.files.native.differences import differences
from secateur.files.native.loading import make_network
from secateur.files.native.saving import check_savable
from secateur.files.native.write import write_tensors

_PARTS = ("shape", "compressed", "bitmask", "row_offsets")
_WHAT = "the compressed-tensors layout"


def save(model: nn.Module, path: str | Path) -> Path:
    """Write a network's ``state_dict`` in the sparse-bitmask layout: its matrices sparse, all else dense.

    Args:
        model: the network.
        path: the file; what stands in it is replaced.

    Raises:
        MissingExtraError: compressed-tensors is not installed.
        SecateurError: the file cannot be written.
    """
    path, pack = path_of("save", path), _package().pack_bitmasks
    check_savable(model)
    held: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        held |= _parts(name.removesuffix(".weight"), tensor.detach().cpu(), pack) if _is_matrix(name, tensor) else {
            name: tensor}
    with write_whole(path) as scratch:
        write_tensors(held, scratch)
    return path


def load(path: str | Path, make_model: Callable[[], nn.Module]) -> nn.Module:
    """Read a file in the sparse-bitmask layout into the network that a function makes.

    Args:
        path: the file.
        make_model: a function or class that makes a network of these shapes.

    Raises:
        MissingExtraError: compressed-tensors is not installed.
        SecateurError: the file is damaged, or of another network; every tensor that differs is named.
    """
    path, network = path_of("load", path), make_network(make_model)
    held, own = tensors_of(path), dict(network.state_dict())
    saved = {name: str(list(tensor.shape)) for name, tensor in held.items()}
    if found := differences(saved, {name: str(list(tensor.shape)) for name, tensor in own.items()}):
        raise SecateurError(f"'{path}' holds another network than the one that make_model makes: {found}")
    network.load_state_dict(held, assign=any(held[n].dtype != t.dtype for n, t in own.items()))
    return network


def config(model: nn.Module) -> dict[str, Any]:
    """What a ``config.json`` says of such a file, under ``sparsity_config``.

    Raises:
        MissingExtraError: compressed-tensors is not installed.
    """
    _package()
    from compressed_tensors.config import BitmaskConfig

    own = [tensor for name, tensor in model.state_dict().items() if _is_matrix(name, tensor)]
    items, zeros = sum(t.numel() for t in own), sum(int((t == 0).sum()) for t in own)
    return dict(BitmaskConfig(global_sparsity=zeros / max(items, 1)).model_dump())


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file in the sparse-bitmask layout, dense, by their names in the network.

    Raises:
        SecateurError: the file is damaged, or a matrix's parts do not fit each other.
    """
    unpack, held = _package().unpack_bitmasks, read.read_plain(path)
    sparse_ones = [n.removesuffix(".bitmask") for n in held if n.endswith(".bitmask")]
    found = {f"{one}.weight": _dense(one, held, unpack, path) for one in sparse_ones}
    gone = {f"{one}.{part}" for one in sparse_ones for part in _PARTS}
    return found | {name: tensor for name, tensor in held.items() if name not in gone}


def _package() -> Any:
    """The package's own packing of bits."""
    try:
        from compressed_tensors.utils import helpers
    except ImportError as error:
        raise MissingExtraError("compressed-tensors", "compressed-tensors", _WHAT) from error
    return helpers


def _is_matrix(name: str, tensor: Tensor) -> bool:
    """Whether the layout holds a tensor sparse."""
    return name.endswith(".weight") and tensor.ndim == 2 and tensor.numel() > 0 and tensor.element_size() <= 8


def _parts(prefix: str, tensor: Tensor, pack: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The four tensors of a matrix."""
    there = torch.from_numpy(sparse.bits(tensor) != 0).view(tensor.shape)
    counts = there.sum(-1)
    return {f"{prefix}.shape": torch.tensor(tensor.shape), f"{prefix}.compressed": tensor[there],
            f"{prefix}.bitmask": pack(there), f"{prefix}.row_offsets": counts.cumsum(0) - counts}


def _dense(prefix: str, held: dict[str, Tensor], unpack: Callable[[Tensor, list[int]], Tensor], path: Path) -> Tensor:
    """A matrix out of its four tensors."""
    where = f"'{path}': matrix '{prefix}'"
    if missing := [part for part in _PARTS if f"{prefix}.{part}" not in held]:
        raise SecateurError(f"{where} has no {', '.join(missing)}")
    shape, values, mask, offsets = (held[f"{prefix}.{part}"] for part in _PARTS)
    sides = shape.tolist() if shape.dtype == torch.int64 and shape.ndim == 1 else []
    if len(sides) != 2 or min(sides) < 1 or mask.dtype != torch.uint8 or mask.shape != (sides[0], -(-sides[1] // 8)):
        raise SecateurError(f"{where} is declared as {sides}, but its bits are {list(mask.shape)}")
    there = unpack(mask, sides)
    counts = there.sum(-1)
    if values.ndim != 1 or int(counts.sum()) != len(values) or not torch.equal(offsets, counts.cumsum(0) - counts):
        raise SecateurError(f"{where}: its bits, row offsets and {values.numel()} values do not add up")
    whole = torch.zeros(sides, dtype=values.dtype)
    whole[there] = values
    return whole


__all__ = ["config", "load", "save", "tensors_of"]
