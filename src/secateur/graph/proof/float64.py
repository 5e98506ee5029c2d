"""Running in float64 whatever type a network is in, one sample of a convolution at a time.

Parameters may stay in narrower types: each is widened when an operator takes it, and no longer.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from secateur.core.module_state import evaluating
from secateur.core.tensors import tensors_in
from secateur.graph.capture import quiet

_DOUBLE = {torch.float16: torch.float64, torch.bfloat16: torch.float64, torch.float32: torch.float64,
           torch.complex64: torch.complex128}
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
# These pick from a narrow table first: widening it whole would need many times the memory of what is picked.
_MOVES = {"embedding", "index_select", "index", "gather"}
CONVOLUTIONS = {"convolution", "_convolution", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                "conv_transpose3d"}


def double(value: Any) -> Any:
    """A tensor or dtype in double precision; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().to(_DOUBLE.get(value.dtype, value.dtype))
    return double_dtype(value)


def own(value: Any) -> Any:
    """As :func:`double`, never the caller's own tensor, which a network may change in place."""
    wide = double(value)
    return wide.clone() if isinstance(value, Tensor) and wide.data_ptr() == value.data_ptr() else wide


@contextmanager
def in_double() -> Iterator[None]:
    """Make tensors in float64 where the code names no type, without gradients; freed memory is given back after."""
    old = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(old)
        give_back()


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps it, and a proof would seem to need it still."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def double_dtype(value: Any) -> Any:
    """A float type as float64."""
    return _DOUBLE.get(value, value) if isinstance(value, torch.dtype) else value


def call_operator(target: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an operator; a convolution of several samples one at a time, since in float64 torch unfolds them all."""
    if name not in CONVOLUTIONS or not args or args[0].ndim != args[1].ndim or args[0].shape[0] < 2:
        return target(*args, **kwargs)
    first, *rest = args[0].split(1)
    one = target(first, *args[1:], **kwargs)
    out = one.new_empty((len(args[0]), *one.shape[1:]))
    out[:1] = one
    for i, x in enumerate(rest, 1):
        out[i:i + 1] = target(x, *args[1:], **kwargs)
    return out


class _InDouble(TorchDispatchMode):
    """Runs a network's own code in float64: casts to narrower types become casts to this one.

    ``narrow``: the addresses of parameters that are held in a narrower type.
    """

    supports_higher_order_operators = True
    conditions = False

    def __init__(self, narrow: Collection[int] = ()):
        super().__init__()
        self.narrow = narrow

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operator with every narrower float type exchanged."""
        if isinstance(func, HigherOrderOperator):
            self.conditions = True
            return func(*self.wide(args), **self.wide(kwargs or {}))
        if func is torch.ops.aten._grouped_mm.default:
            return _grouped_product(*self.wide(args), **self.wide(kwargs or {}))
        name, changes = func.overloadpacket.__name__, func._schema.is_mutable
        if not changes and any(r.alias_info for r in func._schema.returns):
            return func(*args, **(kwargs or {}))
        if name in _MOVES and self.is_narrow(args[0]):
            return double(func(*args, **(kwargs or {})))
        args = (args[0], *self.wide(args[1:])) if changes and args else self.wide(args)
        named = self.wide(kwargs or {})
        types = {t.dtype for t in args if isinstance(t, Tensor) and t.dtype in _FLOATS}
        if len(types) > 1 and not changes:
            args = tuple(double(a) for a in args)
        return call_operator(func, name, args, named)

    def wide(self, value: Any) -> Any:
        """Types, and parameters that are held in narrower ones, in float64, in whatever they lie."""
        if isinstance(value, Tensor):
            return double(value) if self.is_narrow(value) else value
        if isinstance(value, dict):
            return {k: self.wide(v) for k, v in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self.wide(v) for v in value)
        return double_dtype(value)

    def is_narrow(self, value: Tensor) -> bool:
        """Whether a tensor is a parameter held in a narrower type, or a view of one."""
        return bool(self.narrow) and value.dtype in _DOUBLE and address(value) in self.narrow


class _Widened(TorchFunctionMode):
    """Gives convolutions their parameters in float64: torch compares types before any operator is called."""

    def __init__(self, mode: _InDouble):
        super().__init__()
        self.mode = mode

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function."""
        if getattr(func, "__name__", "").partition(".")[0] in CONVOLUTIONS:
            args, kwargs = self.mode.wide(args), self.mode.wide(kwargs or {})
        return func(*args, **(kwargs or {}))


def address(tensor: Tensor) -> int:
    """Where a tensor's storage lies; inside ``torch.vmap`` that of the tensor that is mapped over; 0 without one."""
    while torch._C._functorch.is_batchedtensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0


def _grouped_product(rows: Tensor, weights: Tensor, offs: Tensor, *_: Any, **__: Any) -> Tensor:
    """Rows of each expert times its matrix: torch's own kernel takes no float64."""
    starts = [0, *offs.tolist()]
    return torch.cat([rows[a:b] @ w for a, b, w in zip(starts, starts[1:], weights, strict=False)])


def eager_outputs(model: nn.Module, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that a network gives in float64, in evaluation mode."""
    with evaluating(model):
        return eager_tensors(model, args, kwargs)


def eager_tensors(model: nn.Module, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that a network gives in float64, in the mode that it is in.

    Its parameters stay in their types, unless its code minds that they differ from its inputs'.
    """
    narrow = [p for p in model.parameters() if p.dtype in _DOUBLE]
    try:
        return run(model, args, kwargs, {address(p) for p in narrow})
    except Exception as error:
        if not narrow or not re.search("float|double|dtype", str(error), re.IGNORECASE):
            raise
    values = [p.data for p in narrow]
    try:
        for p in narrow:
            p.data = double(p.data)
        return run(model, args, kwargs, ())
    finally:
        for p, data in zip(narrow, values, strict=True):
            p.data = data


def run(model: nn.Module, args: Any, kwargs: Any, narrow: Collection[int]) -> list[Tensor]:
    """Call a network in float64.

    ``torch.cond`` is compiled where it is called; what was compiled for float64 is forgotten afterwards.
    """
    args, kwargs = pytree.tree_map(own, (args, kwargs))
    mode = _InDouble(narrow)
    try:
        with quiet(), in_double(), _Widened(mode) if narrow else nullcontext(), mode:
            outputs = model(*args, **kwargs)
    finally:
        if mode.conditions:
            torch._dynamo.reset()
    return [double(t) if mode.is_narrow(t) else t for t in tensors_in(outputs)]
