"""Argument lists for the operators that a file may name: good ones, and what becomes of them by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

FLOAT, INT, BOOL, COMPLEX = torch.float32, torch.int64, torch.bool, torch.complex64
TYPES = (FLOAT, FLOAT, FLOAT, torch.float64, torch.bfloat16, torch.float16, INT, torch.int32, torch.int16, torch.int8,
         torch.uint8, BOOL, COMPLEX)
NUMBERS = (0, 1, -1, 2, 3, -2, 5, 7, 64, 255, -100, 2**16, 2**31 - 1, -2**31, 2**31, 2**40, 2**63 - 1, -2**63)
FRACTIONS = (0.0, -0.0, 1.0, 0.5, -1.5, 2.0, 1e-30, 1e30, 1e300, float("inf"), float("-inf"), float("nan"))
WORDS = ("none", "tanh", "floor", "trunc", "same", "valid", "constant", "reflect", "replicate", "circular", "sum",
         "prod", "mean", "amax", "ij", "xy", "ortho", "", "ii", "ij,jk->ik", "...i->i", "\x00", "x" * 300)


@dataclass(frozen=True)
class T:
    """A tensor to be drawn: ``most`` bounds its whole numbers from above, ``way`` says how it lies in memory."""

    shape: tuple[int, ...] = (2, 4, 6, 6)
    dtype: torch.dtype = FLOAT
    most: int = 4
    way: str = "plain"


def t(*shape: int, dtype: torch.dtype = FLOAT, most: int = 4) -> T:
    """A tensor of a shape."""
    return T(shape, dtype, most)


def whole(*shape: int, most: int = 4) -> T:
    """Positions from 0 to ``most - 1``."""
    return T(shape, INT, most)


def _conv(axes: int, *rest: Any) -> list[Any]:
    sides = (7,) * axes
    return [t(2, 4, *sides), t(6, 2, *(3,) * axes), t(6), *rest]


def _codes(*shape: int) -> list[Any]:
    """The weight of an int8 layer, its scales and its bias."""
    return [t(*shape, dtype=torch.int8), t(shape[0]), t(shape[0], dtype=torch.int32)]


STATIC = [t(), t(dtype=torch.uint8)]
ONES, TWO = {n: [1] * n for n in (1, 2, 3)}, {n: [2] * n for n in (1, 2, 3)}
RNN = [True, 1, 0.0, False, False, False]
EXAMPLES: dict[str, list[list[Any]]] = {
    **{f"bitwise_{kind}.Tensor": [[whole(3, 4), whole(4)]] for kind in ("and", "or", "xor")},
    **{f"bitwise_{kind}.Scalar": [[whole(3, 4), 2]] for kind in ("and", "or", "xor")}, "bitwise_not": [[whole(3)]],
    "clamp": [[t(3), -1, 0.5]], "clamp.Tensor": [[t(3), t(3), None]], "t": [[t(2, 3)], [t(3)]],
    "linear": [[t(2, 5, 8), t(3, 8), t(3)], [t(8), t(3, 8), None]],
    "secateur.int8_linear": [[t(2, 5, 8), *_codes(3, 8), *STATIC], [t(8), *_codes(3, 8), None, None],
                             [t(2, 8), *_codes(3, 8)[:2], None, *STATIC]],
    "secateur.int8_conv": [[t(2, 4, *(7,) * n), *_codes(6, 2, *(3,) * n), *STATIC, ONES[n], ONES[n], ONES[n], 2]
                           for n in (1, 2)],
    "matmul": [[t(2, 3, 4), t(4, 5)], [t(4), t(4)], [t(2, 1, 3, 4), t(5, 4, 2)]], "mm": [[t(3, 4), t(4, 5)]],
    "bmm": [[t(2, 3, 4), t(2, 4, 5)]], "mv": [[t(3, 4), t(4)]], "dot": [[t(4), t(4)]], "vdot": [[t(4), t(4)]],
    "outer": [[t(4), t(3)]], "ger": [[t(4), t(3)]], "addmm": [[t(5), t(3, 4), t(4, 5)]],
    "baddbmm": [[t(2, 3, 5), t(2, 3, 4), t(2, 4, 5)]], "addmv": [[t(3), t(3, 4), t(4)]],
    "bilinear": [[t(2, 3), t(2, 4), t(5, 3, 4), t(5)]],
    "einsum": [["bij,bjk->bik", [t(2, 3, 4), t(2, 4, 5)]], ["...i,ij", [t(2, 3), t(3, 4)]],
               ["i,j,k", [t(2), t(3), t(4)]], ["ii->i", [t(3, 3)]]],
    **{f"conv{n}d": [_conv(n, ONES[n], ONES[n], ONES[n], 2), _conv(n, TWO[n], [0] * n, TWO[n], 2)] for n in (1, 2, 3)},
    **{f"conv{n}d.padding": [_conv(n, ONES[n], "same", ONES[n], 2)] for n in (1, 2, 3)},
    **{f"conv_transpose{n}d{'.input' * (n > 1)}": [[t(2, 4, *(5,) * n), t(4, 3, *(3,) * n), t(6), TWO[n], ONES[n],
                                                   ONES[n], 2, ONES[n]]] for n in (1, 2, 3)},
    "convolution": [_conv(2, [1, 1], [1, 1], [1, 1], False, [0, 0], 2),
                    [t(2, 4, 5, 5), t(4, 3, 3, 3), t(6), [2, 2], [1, 1], [1, 1], True, [1, 1], 2]],
    **{f"adaptive_{kind}_pool{n}d": [[t(2, 3, *(7,) * n), [2] * n]] for n in (1, 2, 3) for kind in ("avg", "max")},
    **{f"_adaptive_avg_pool{n}d": [[t(2, 3, *(7,) * n), [2] * n]] for n in (2, 3)},
    **{f"avg_pool{n}d": [[t(2, 3, *(7,) * n), [3] * n, TWO[n], ONES[n], True, False]] for n in (1, 2, 3)},
    **{f"max_pool{n}d{end}": [[t(2, 3, *(7,) * n), [3] * n, TWO[n], ONES[n], ONES[n], True]] for n in (1, 2, 3)
       for end in ("", "_with_indices")},
    "im2col": [[t(2, 3, 7, 7), [3, 3], [1, 1], [1, 1], [2, 2]]],
    **{f"{name}{n}d.vec": [[t(2, 3, *(5,) * n), [7] * n, None], [t(2, 3, *(5,) * n), None, [1.5] * n]]
       for n in (1, 2, 3) for name in ("upsample_nearest", "_upsample_nearest_exact")},
    **{f"{name}.vec": [[t(2, 3, *(5,) * n), [7] * n, False, None], [t(2, 3, *(5,) * n), None, True, [1.5] * n]]
       for n, name in ((1, "upsample_linear1d"), (2, "upsample_bilinear2d"), (3, "upsample_trilinear3d"),
                       (2, "upsample_bicubic2d"), (2, "_upsample_bilinear2d_aa"), (2, "_upsample_bicubic2d_aa"))},
    "layer_norm": [[t(2, 3, 8), [8], t(8), t(8), 1e-5, True]], "rms_norm": [[t(2, 3, 8), [8], t(8), 1e-5]],
    "group_norm": [[t(2, 6, 5), 3, t(6), t(6), 1e-5, True]],
    "instance_norm": [[t(2, 6, 5), t(6), t(6), None, None, True, 0.1, 1e-5, True],
                      [t(2, 6, 5), t(6), t(6), t(6), t(6), False, 0.1, 1e-5, True]],
    "batch_norm": [[t(2, 6, 5), t(6), t(6), t(6), t(6), False, 0.1, 1e-5, True],
                   [t(2, 6, 5), t(6), t(6), None, None, True, 0.1, 1e-5, True]],
    "_weight_norm": [[t(4, 3, 2), t(4, 1, 1), 0], [t(4, 3), t(1, 3), 1], [t(4, 3), t(), -1]],
    "scaled_dot_product_attention": [[t(2, 4, 5, 8), t(2, 4, 7, 8), t(2, 4, 7, 6), None, 0.0, False],
                                     [t(2, 4, 5, 8), t(2, 4, 7, 8), t(2, 4, 7, 8), t(5, 7, dtype=BOOL), 0.0, False],
                                     [t(2, 4, 5, 8), t(2, 2, 5, 8), t(2, 2, 5, 8), None, 0.0, True]],
    "lstm.input": [[t(5, 2, 3), [t(1, 2, 4), t(1, 2, 4)], [t(16, 3), t(16, 4), t(16), t(16)], *RNN]],
    "gru.input": [[t(5, 2, 3), t(1, 2, 4), [t(12, 3), t(12, 4), t(12), t(12)], *RNN]],
    **{f"rnn_{kind}.input": [[t(5, 2, 3), t(1, 2, 4), [t(4, 3), t(4, 4), t(4), t(4)], *RNN]]
       for kind in ("tanh", "relu")},
    "lstm_cell": [[t(2, 3), [t(2, 4), t(2, 4)], t(16, 3), t(16, 4), t(16), t(16)]],
    "gru_cell": [[t(2, 3), t(2, 4), t(12, 3), t(12, 4), t(12), t(12)]],
    **{f"rnn_{kind}_cell": [[t(2, 3), t(2, 4), t(4, 3), t(4, 4), t(4), t(4)]] for kind in ("tanh", "relu")},
    "embedding": [[t(9, 4), whole(2, 3, most=9)]], "index_select": [[t(5, 4), 0, whole(3, most=5)]],
    "gather": [[t(5, 4), 0, whole(3, 4, most=5)]], "take_along_dim": [[t(5, 4), whole(3, 1, most=5), 0]],
    **{name: [[t(5, 4), 0, whole(3, 4, most=5), t(3, 4)]] for name in ("scatter.src", "scatter_add")},
    "scatter.value": [[t(5, 4), 0, whole(3, 4, most=5), 2.0]],
    "scatter_reduce.two": [[t(5, 4), 0, whole(3, 4, most=5), t(3, 4), "sum"]],
    "index_add": [[t(5, 4), 0, whole(3, most=5), t(3, 4)]], "index_copy": [[t(5, 4), 0, whole(3, most=5), t(3, 4)]],
    "index_fill.int_Scalar": [[t(5, 4), 0, whole(3, most=5), 1.0]],
    "index.Tensor": [[t(5, 4, 3), [whole(2, most=5), whole(2, most=4)]], [t(5, 4, 3), [None, whole(2, 2)]]],
    "index_put": [[t(5, 4, 3), [whole(2, most=5), whole(2, most=4)], t(2, 3)], [t(5, 4), [whole(2)], t(2, 4), True]],
    "masked_scatter": [[t(5, 4), t(5, 4, dtype=BOOL), t(20)]], "bucketize.Tensor": [[t(5, 4), t(6)]],
    "one_hot": [[whole(3, 2), 4]], "masked_fill.Scalar": [[t(3, 4), t(4, dtype=BOOL), 1.0]],
    "masked_fill.Tensor": [[t(3, 4), t(4, dtype=BOOL), t()]], "where.self": [[t(3, 4, dtype=BOOL), t(4), t(3, 1)]],
    "where.ScalarOther": [[t(3, 4, dtype=BOOL), t(4), 1.0]], "where.ScalarSelf": [[t(3, 4, dtype=BOOL), 1.0, t(4)]],
    "where.Scalar": [[t(3, 4, dtype=BOOL), 1.0, 2.0]], "prelu": [[t(2, 4, 3), t(4)]],
    "view": [[t(2, 3, 4), [6, -1]]], "_unsafe_view": [[t(2, 3, 4), [6, -1]]], "reshape": [[t(2, 3, 4), [6, -1]]],
    "unflatten.int": [[t(2, 12), 1, [3, -1]]], "permute": [[t(2, 3, 4), [2, 0, 1]]],
    "expand": [[t(2, 1, 4), [5, 2, 3, -1]]], "broadcast_to": [[t(2, 1, 4), [2, 3, 4]]],
    "split_with_sizes": [[t(2, 6), [2, 4], 1]], "split.sizes": [[t(2, 6), [2, 4], 1]],
    "split.Tensor": [[t(2, 7), 3, 1]],
    "unfold": [[t(2, 7), 1, 3, 2]], "narrow": [[t(2, 7), 1, 2, 3]], "cat": [[[t(2, 3), t(2, 4)], 1]],
    "stack": [[[t(2, 3), t(2, 3)], 1]], "meshgrid.indexing": [[[t(2), t(3)], "ij"]], "repeat": [[t(2, 3), [2, 1, 3]]],
    "tile": [[t(2, 3), [2, 1, 3]]], "repeat_interleave.self_int": [[t(2, 3), 2, 1]],
    "roll": [[t(4, 5), [1, -2], [0, 1]]], "pixel_shuffle": [[t(2, 8, 3, 3), 2]],
    "pixel_unshuffle": [[t(2, 2, 4, 6), 2]], "channel_shuffle": [[t(2, 6, 3), 3]],
    "constant_pad_nd": [[t(2, 3, 5), [1, 2, -1, 0], 1.0]], "glu": [[t(2, 4), 1]],
    "pad": [[t(2, 3, 5), [1, 2], mode, None] for mode in ("constant", "reflect", "replicate", "circular")],
    "slice_scatter": [[t(5, 4), t(2, 4), 0, 1, 5, 2]], "select_scatter": [[t(5, 4), t(4), 0, 1]],
    "view_as_complex": [[t(3, 2)]], "view_as_real": [[t(3, 2, dtype=COMPLEX)]], "real": [[t(3, dtype=COMPLEX)]],
    "imag": [[t(3, dtype=COMPLEX)]], "polar": [[t(3), t(3)]], "complex": [[t(3), t(3)]],
    "pow.Scalar": [[2.0, t(3)]], "lerp.Scalar": [[t(3), t(3), 0.5]], "diff": [[t(3, 5), 1, 1, None, t(3, 1)]],
    "div.Tensor_mode": [[t(3, 4), t(4), mode] for mode in ("floor", "trunc", None)],
    "div.Scalar_mode": [[t(3, 4), 2, mode] for mode in ("floor", "trunc", None)], "fill.Tensor": [[t(3), t()]],
    "copy": [[t(3, 4), t(4)]], "fft_irfft": [[t(2, 5, dtype=COMPLEX)]], "topk": [[t(3, 5), 2, 1]],
    "fft_ifft": [[t(2, 5, dtype=COMPLEX)]], "arange.start_step": [[0, 10, 3]], "arange.start": [[2, 7]],
}


def example(name: str, draw: random.Random) -> list[Any]:
    """A good list of arguments for an operator."""
    short = name.removeprefix("aten.").removesuffix(".default")
    if short in EXAMPLES:
        return list(draw.choice(EXAMPLES[short]))
    _, base, overload = name.split(".")
    schema = getattr(getattr(torch.ops.aten, base), overload)._schema
    return [_plain(a.name, str(a.real_type)) for a in schema.arguments if not a.has_default_value()]


def _plain(name: str, kind: str) -> Any:
    """An argument of a type."""
    if kind == "Tensor":
        return t(2, 4, 6)
    if kind.startswith("Optional["):
        return _plain(name, kind[9:-1])
    if kind.startswith("List["):
        return [_plain(name, kind[5:-1])] * (2 if name in ("size", "shape") else 1)
    known = {"int": 1, "SymInt": 1, "float": 0.5, "number": 2, "bool": False, "str": "none", "ScalarType": FLOAT,
             "Layout": torch.strided, "MemoryFormat": torch.contiguous_format, "Device": torch.device("cpu")}
    return known[kind]


def spoilt(value: Any, draw: random.Random) -> Any:
    """An argument with something changed."""
    if isinstance(value, T):
        return _spoilt_tensor(value, draw)
    if isinstance(value, list) and value and draw.random() < 0.9:
        found, at = list(value), draw.randrange(len(value))
        how = draw.random()
        if how < 0.1:
            found.pop(at)
        elif how < 0.2:
            found.insert(at, found[at])
        else:
            found[at] = spoilt(found[at], draw)
        return found
    if type(value) is bool and draw.random() < 0.7:
        return not value
    if type(value) is int and draw.random() < 0.9:
        return draw.choice(NUMBERS) if draw.random() < 0.5 else value + draw.choice((-3, -2, -1, 1, 2, 3))
    if type(value) is float and draw.random() < 0.9:
        return draw.choice(FRACTIONS)
    if isinstance(value, str) and draw.random() < 0.8:
        return draw.choice(WORDS)
    return draw.choice((None, True, 1, 200, -1, 0.5, "x", [], [1, 1], [2**40] * 3, [-1], FLOAT, INT, torch.strided,
                        torch.channels_last, t(2, 4), t(), t(0), whole(3), [t(2, 3)]))


def _spoilt_tensor(value: T, draw: random.Random) -> Any:
    """A tensor of another shape, type, content or place in memory."""
    how, shape = draw.random(), list(value.shape)
    if how < 0.35 and shape:
        at = draw.randrange(len(shape))
        shape[at] = max(0, draw.choice((0, 1, shape[at] - 1, shape[at] + 1, shape[at] * 2, 7)))
        return replace(value, shape=tuple(shape))
    if how < 0.5:
        return replace(value, shape=tuple(shape[1:] if draw.random() < 0.5 else [draw.choice((1, 2)), *shape]))
    if how < 0.65:
        return replace(value, dtype=draw.choice(TYPES))
    if how < 0.8:
        return replace(value, way=draw.choice(("turned", "parts", "expanded", "offset")))
    if how < 0.95:
        return replace(value, most=draw.choice((0, 1, 5, 100, 2**31, 2**62)))
    return draw.choice((1, 2.0, True, None))


def drawn(name: str, draw: random.Random) -> list[Any]:
    """A list of arguments: good, or with one to three of them changed; keyword arguments are tried by their place."""
    found = example(name, draw)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        if found and draw.random() < 0.95:
            at = draw.randrange(len(found))
            found[at] = spoilt(found[at], draw)
        else:
            found.append(spoilt(None, draw))
    return found


def tensor(told: T, generator: torch.Generator) -> Tensor:
    """The values of a tensor: small ones, and now and then the extremes of its type."""
    shape = told.shape
    if told.dtype.is_floating_point or told.dtype.is_complex:
        found = torch.randn(shape, generator=generator).to(told.dtype)
        if found.numel() > 2 and told.most != 4:
            found.view(-1)[:3] = torch.tensor([float("nan"), float("inf"), 1e30]).to(told.dtype)
    elif told.dtype == BOOL:
        found = torch.rand(shape, generator=generator) < 0.5
    else:
        found = torch.randint(0, min(max(told.most, 1), 2**31), shape, generator=generator).to(told.dtype)
        if told.most > 100 and found.numel() > 1:
            bounds = torch.iinfo(told.dtype)
            found.view(-1)[:2] = torch.tensor([bounds.min, -1 if bounds.min else bounds.max], dtype=INT).to(told.dtype)
    return _placed(found, told.way)


def _placed(found: Tensor, way: str) -> Tensor:
    """A tensor that lies in memory in another way."""
    if way == "turned" and found.ndim > 1:
        return found.transpose(0, -1).contiguous().transpose(0, -1)
    if way == "parts" and found.ndim:
        return torch.cat([found, found], -1)[..., ::2]
    if way == "expanded" and found.ndim and found.shape[0]:
        return found[:1].expand(found.shape)
    if way == "offset":
        whole = torch.cat([torch.zeros(3, dtype=found.dtype), found.reshape(-1)])
        return whole[3:].view(found.shape)
    return found
