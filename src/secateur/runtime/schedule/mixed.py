"""A segment of which some layers run dense in torch, between programs of kernels for the operators around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.packing.layout import has_planes

_Piece = Segment | Op
"""A run of operators on kernels, or one operator in torch."""
_ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "none": lambda x, _: x,
    "relu": lambda x, _: torch.relu_(x),
    "relu6": lambda x, _: F.relu6(x, inplace=True),
    "leaky_relu": lambda x, slope: F.leaky_relu_(x, slope),
    "sigmoid": lambda x, _: torch.sigmoid_(x),
    "silu": lambda x, _: F.silu(x, inplace=True),
    "tanh": lambda x, _: torch.tanh_(x),
    "gelu": lambda x, _: F.gelu(x),
    "gelu_tanh": lambda x, _: F.gelu(x, approximate="tanh"),
    "hardsigmoid": lambda x, _: F.hardsigmoid(x, inplace=True),
    "hardswish": lambda x, _: F.hardswish(x, inplace=True),
}


class TorchLayer:
    """One layer with its activation, or one change of shape, as torch runs it."""

    def __init__(self, op: Op):
        self.op = op
        self.weight, self.bias = (None if a is None else torch.from_numpy(a) for a in (op.weight, op.bias))
        name, _, number = op.act.partition(":")
        self.act, self.number = _ACTIVATIONS[name], float(number or 0)

    def __call__(self, x: Tensor, lead: tuple[int, ...]) -> Tensor:
        """The output for rows of the sizes ``lead``."""
        shape = (*lead, *self.op.output.shape)
        if self.weight is None:
            return x.reshape(shape)
        if self.op.kind == "linear":
            return self.act(F.linear(x, self.weight, self.bias), self.number)
        run: Any = F.conv1d if self.weight.ndim == 3 else F.conv2d
        stride, padding, dilation = (self.op.settings[k][-(self.weight.ndim - 2):]
                                     for k in ("stride", "padding", "dilation"))
        return self.act(run(x, self.weight, self.bias, stride, padding, dilation, self.op.settings["groups"]),
                        self.number)


def split(segment: Segment, dense: Sequence[int]) -> list[_Piece]:
    """The pieces of a segment in order: each operator of ``dense`` by itself, the others in the fewest segments.

    An operator's level counts the borders between torch and kernels on its longest way from the inputs; operators of
    one level form one segment, so that no way leaves a segment and comes back to it.

    >>> x, h, y = Value(0, (2,)), Value(1, (2,)), Value(2, (2,))
    >>> whole = Segment((x,), (Op("linear", "a", (x,), h), Op("linear", "b", (h,), y)), (y,))
    >>> [type(piece).__name__ for piece in split(whole, [1])]
    ['Segment', 'Op']
    """
    alone = _single_operators(segment, dense)
    level: dict[Value, int] = {}
    lone: dict[Value, bool] = {}
    groups: dict[tuple[int, int], list[Op]] = {}
    for index, op in enumerate(segment.ops):
        single = index in alone
        level[op.output] = max((level[v] + (single or lone[v]) for v in op.inputs if v in level), default=0)
        lone[op.output] = single
        groups.setdefault((level[op.output], index if single else -1), []).append(op)
    return [ops[0] if key[1] >= 0 else _part(segment, ops) for key, ops in sorted(groups.items(), key=lambda g: g[0])]


def _single_operators(segment: Segment, dense: Sequence[int]) -> set[int]:
    """The indices of the dense operators, and of the changes of shape that only they read."""
    found = set(dense)
    for index, op in reversed(list(enumerate(segment.ops))):
        users = [k for k, other in enumerate(segment.ops) if op.output in other.inputs]
        if op.kind == "alias" and users and all(k in found for k in users):
            found.add(index)
    return found


def _part(segment: Segment, ops: list[Op]) -> Segment:
    made = {op.output for op in ops}
    needed = {v for op in segment.ops if op.output not in made for v in op.inputs} | set(segment.outputs)
    inputs = dict.fromkeys(v for op in ops for v in op.inputs if v not in made)
    return Segment(tuple(inputs), tuple(ops), tuple(op.output for op in ops if op.output in needed))


class Mixed:
    """Runs the pieces of a segment in order; ``make`` returns what runs a part of it on kernels."""

    def __init__(self, segment: Segment, dense: Sequence[int], make: Callable[[Segment], Any]):
        self.segment = segment
        self.pieces: list[tuple[_Piece, Any]] = [(piece, TorchLayer(piece) if isinstance(piece, Op) else make(piece))
                                                for piece in split(segment, dense)]

    def kernels(self, inputs: tuple[Tensor, ...], lead: tuple[int, ...], rows: int, chunks: Any,
                workers: int) -> tuple[Tensor, ...] | None:
        """The outputs, or None where a program met a value that is NaN or infinite."""
        held: dict[Value, Tensor] = dict(zip(self.segment.inputs, inputs, strict=True))
        for piece, run in self.pieces:
            if isinstance(piece, Op):
                held[piece.output] = run(held[piece.inputs[0]], lead)
                continue
            own = ((1, 1),) if rows == 1 and not has_planes(piece) else chunks
            outputs = run.kernels(tuple([held[v] for v in piece.inputs]), lead, rows, own, workers)
            if outputs is None:
                return None
            held.update(zip(piece.outputs, outputs, strict=True))
        return tuple([held[v].contiguous() for v in self.segment.outputs])


def dense_layers(segment: Segment, kernel: dict[int, float], dense: dict[int, float], feature: float,
         piece: float) -> tuple[int, ...]:
    """The indices of the operators that should run dense in torch.

    These are the operators that torch runs faster, without those whose gain is less than what one more piece costs.

    Args:
        segment: the operators.
        kernel: seconds of each operator with a weight on its kernel, by its index.
        dense: the same in torch.
        feature: seconds to bring one feature of all rows into a program, or out of it.
        piece: seconds that one more piece costs.
    """
    chosen = [k for k in kernel if dense[k] < kernel[k]]

    def cost(places: Sequence[int]) -> float:
        parts = split(segment, places)
        moved = sum(v.size for part in parts if isinstance(part, Segment) for v in (*part.inputs, *part.outputs))
        return (sum(dense[k] if k in places else kernel[k] for k in kernel) + moved * feature + len(parts) * piece)

    best = cost(chosen)
    for place in sorted(chosen, key=lambda k: kernel[k] - dense[k]):
        fewer = [k for k in chosen if k != place]
        if (less := cost(fewer)) <= best:
            chosen, best = fewer, less
    return tuple(chosen) if math.isfinite(best) else ()
