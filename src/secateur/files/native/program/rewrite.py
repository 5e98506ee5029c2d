"""Graphs in files of earlier versions, rewritten into the operators that have rules.

Those versions wrote every operator that torch traced, those in place among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import _pytree as pytree

from secateur.files.native.program.arguments import Ref
from secateur.files.native.program.memory import Gone, Memory, Part
from secateur.files.native.program.rules import RULES

RENAMED = {
    "clip": "clamp", "divide": "div", "true_divide": "div", "multiply": "mul", "subtract": "sub", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "negative": "neg", "fix": "trunc",
    "concat": "cat", "concatenate": "cat", "special_expit": "sigmoid", "special_logsumexp": "logsumexp",
    "__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor", "__iand__": "bitwise_and",
    "__ior__": "bitwise_or", "moveaxis": "movedim", "unsafe_chunk": "chunk", "unsafe_split": "split",
    "split_copy": "split", "_convolution": "convolution", "_reshape_alias": "reshape", "zero": "zeros_like",
    "swapaxes": "transpose.int", "swapdims": "transpose.int", "norm.ScalarOpt_dim": "linalg_vector_norm.default",
    "native_batch_norm": "batch_norm", "_native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "layer_norm", "native_group_norm": "group_norm", "_fused_rms_norm": "rms_norm",
    "_weight_norm_interface": "_weight_norm"}
"""The operators of the closed set that take the place of others, whose overloads have the same names."""
_ARGUMENTS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "_convolution": lambda *a: a[:9], "_reshape_alias": lambda *a: a[:2],
    "native_batch_norm": lambda *a: (*a, False), "native_layer_norm": lambda *a: (*a, False),
    "_native_batch_norm_legit_no_training": lambda *a: (*a[:5], False, *a[5:], False),
    "native_group_norm": lambda *a: (a[0], *a[6:7], *a[1:3], *a[7:], False),
    "_weight_norm_interface": lambda v, g, dim=0: (v, g, dim)}
"""How the arguments of an operator differ from those of the one that takes its place."""
_FIRST_OF = {"native_batch_norm", "_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm",
             "_fused_rms_norm", "_weight_norm_interface"}
"""Operators that give statistics beside the result; no graph can have these."""
_NOTHING = {"dropout_", "feature_dropout_", "alpha_dropout_", "feature_alpha_dropout_", "detach_"}
"""Operators that change no value in evaluation mode."""
_IN_PLACE_BY_NAME = {"__iand__", "__ior__"}
_KEEPS_TYPE = {"relu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "gelu",
               "relu6", "mish", "selu", "celu", "clamp", "neg", "abs", "exp", "sqrt", "rsqrt", "fill", "copy",
               "masked_fill", "zeros_like", "index_put", "index_fill", "index_add", "index_copy", "scatter",
               "scatter_add", "scatter_reduce"}
"""Operators that give the type of what they change; what others give is put into a tensor of that type."""


def rewrite(parts: list[Part], stored: int, start: int, gives: Any) -> tuple[list[Part], Any, list[str]]:
    """A graph in the closed set: its calls, its outputs, and the operators that have no place in it.

    ``stored`` values stand before the inputs, ``start`` before the first call.

    Raises:
        SecateurError: it would become many times as long.
    """
    if all(not name.startswith("aten.") or name in RULES for name, _, _ in parts):
        return parts, gives, []
    memory = Memory(stored, start, len(parts))
    for name, args, kwargs in parts:
        _add(memory, name, args, kwargs)
    return memory.calls, pytree.tree_map(memory.told, gives), memory.wrong


def _add(memory: Memory, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """One call of the old graph."""
    base = name.removeprefix("aten.").partition(".")[0]
    first = args[0] if args and type(args[0]) is Ref else None
    in_place = base.endswith("_") and (not base.endswith("__") or base in _IN_PLACE_BY_NAME)
    if name.startswith("aten.") and name not in RULES and first is not None and base in _NOTHING:
        memory.add_same(first)
    elif name.startswith("aten.") and name not in RULES and first is not None and in_place:
        memory.change(first, _in_place(memory, name, args, kwargs), name)
    elif isinstance(several := memory.value(first), tuple) and name == "getitem":
        memory.add(several[0] if args[1:] == (0,) else Gone("statistics of a norm"))
    else:
        memory.add_call(name, args, kwargs, _functional(memory, name, args, kwargs))


def _functional(memory: Memory, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What takes the place of a call that changes nothing."""
    if not name.startswith("aten.") or name in RULES:
        return memory.put(name, args, kwargs)
    base, _, overload = name.removeprefix("aten.").partition(".")
    target = RENAMED.get(f"{base}.{overload}", RENAMED.get(base, base))
    full = f"aten.{target}" if "." in target else f"aten.{target}.{overload}"
    try:
        args = _ARGUMENTS.get(base, lambda *a: a)(*args)
    except TypeError:
        full = ""
    if full not in RULES:
        return memory.refuse(name)
    found = memory.put(full, args, kwargs)
    return (found,) if base in _FIRST_OF else found


def _in_place(memory: Memory, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The functional twin of a call in place, in the type of the tensor that changes."""
    base, _, overload = name.removeprefix("aten.").partition(".")
    base = base if base in _IN_PLACE_BY_NAME else base[:-1]
    found = _functional(memory, f"aten.{base}.{overload}", args, kwargs)
    if isinstance(found, Ref) and RENAMED.get(base, base) not in _KEEPS_TYPE:
        return memory.put_new("aten.copy.default", (memory.value(args[0]), found))
    return found


