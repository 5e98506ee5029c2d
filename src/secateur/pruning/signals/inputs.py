"""Moments of the inputs of layers, summed over the samples a few layers at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.core.linalg import single
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.pruning.signals.unfold import check_layer, groups_of, rows_in, without_padding

BUDGET = 512 * 2**20
"""Bytes of Gram matrices that are held at once; layers beyond it take another pass over the samples."""
_ROWS = 1 << 14
"""Rows that are multiplied in single precision at once; longer sums lose digits, so the parts are added in double."""


@dataclass
class Moments:
    """Sums over rows: how many, and for each group what ``add`` sums."""

    rows: int
    total: Any

    @property
    def mean(self) -> Tensor:
        """The sum divided by the number of rows."""
        return self.total / max(self.rows, 1)  # type: ignore[no-any-return]


_Sum = Callable[[Tensor], Tensor]


def gram_sum(rows: Tensor) -> Tensor:
    """``(groups, rows, columns)`` to the sum of products of columns, ``(groups, columns, columns)`` in float64."""
    return sum((part.transpose(1, 2) @ part).double() for part in single(rows).split(_ROWS, 1))  # type: ignore[return-value]


def square_sum(rows: Tensor) -> Tensor:
    """``(groups, rows, columns)`` to the sum of squares of columns, ``(groups, columns)`` in float64."""
    return rows.double().square().sum(1)


def input_bytes(module: nn.Module) -> int:
    """The memory of a layer's Gram matrix."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return 8 * groups_of(module) * weight[0].numel() ** 2


def chunks(sizes: dict[str, int], budget: int) -> list[list[str]]:
    """Names in order, in runs whose sizes fit the budget together; one that is larger is alone.

    >>> chunks({"a": 3, "b": 3, "c": 9, "d": 1}, 6)
    [['a', 'b'], ['c'], ['d']]
    """
    made: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not made or size > room:
            made.append([])
            room = budget
        made[-1].append(name)
        room -= size
    return made


def input_moments(model: nn.Module, modules: Sequence[str], samples: Calibration, add: _Sum,
                  rows: Callable[[nn.Module, Tensor], Tensor] = rows_in) -> dict[str, Moments]:
    """Sums over the inputs of some layers, padding left out, from one pass over the samples.

    Raises:
        UnsupportedError: a layer is neither linear nor a convolution, or the network never calls it.
    """
    found: dict[str, Moments] = {}
    shown: list[Batch] = []

    def hook(name: str) -> Callable[..., None]:
        def see(module: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
            matrix = rows(module, without_padding(module, shown[-1], inputs[0].detach()))
            seen = found.setdefault(name, Moments(0, 0.0))
            seen.rows, seen.total = seen.rows + matrix.shape[1], seen.total + add(matrix)
        return see

    hooks = {name: hook(name) for name in modules if check_layer(name, model.get_submodule(name))}
    with watch(model, hooks), torch.no_grad():
        for batch in samples:
            shown[:] = [batch]
            call(model, batch)
    if never := [name for name in modules if name not in found]:
        raise UnsupportedError(f"layer '{never[0]}' is never called as a module, so its inputs cannot be seen; "
                               "skip it, or use a criterion that needs no data")
    for name, seen in found.items():
        check_sums(name, seen.total)
    return found


def check_sums(name: str, *sums: Tensor) -> None:
    """Refuse sums over a layer's inputs or outputs that overflowed.

    Raises:
        SecateurError: one is not finite.
    """
    if not all(bool(torch.isfinite(total).all()) for total in sums):
        raise SecateurError(f"data: the squared inputs or outputs of layer '{name}' overflow in the network's "
                            "precision: scale the data as in training")
