"""``len(x)`` of a traced tensor as the open size that ``x.shape[0]`` is.

Python's own ``len`` can give nothing but a plain number, and so fixes a trace to the example's batch.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_Found = TypeVar("_Found")
_File = dict[str, Any]

# One trace at a time replaces ``len``: another one would take it for the file's own, or put it back too early.
_LOCK = threading.RLock()


def with_open_len(trace: Callable[[], _Found], is_fixed: Callable[[_Found], bool]) -> _Found:
    """What a trace gives; where that is fixed to the example's batch, traced again with ``len`` open.

    ``len`` is replaced during the trace, in the files alone whose code asked for the length of a tensor with an open
    first size. A file that has a ``len`` of its own keeps it. For every other value the replacement is ``len`` itself.
    """
    made, files = trace(), list[_File]()
    while is_fixed(made):
        with _LOCK, _replaced(files), _Watch() as watch:
            made = trace()
        new = [file for file in watch.files if not any(file is known for known in files)]
        if not new:
            break
        files += new
    return made


class _Watch(TorchFunctionMode):
    """Collects the files whose code calls ``len`` of a tensor with an open first size."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[_File] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function."""
        if func is Tensor.__len__ and _is_open(args[0]):
            file = _caller_of_len(sys._getframe()).f_globals
            # torch keeps a table of Python's built-in functions.
            is_torchs = str(file.get("__name__")).partition(".")[0] == "torch"
            if not is_torchs and file.get("len", builtins.len) is builtins.len:
                self.files.append(file)
        return func(*args, **(kwargs or {}))


def _caller_of_len(frame: FrameType) -> FrameType:
    """The code that called ``len``: behind torch's own, which calls itself once for each mode that is on."""
    caller, outer = frame, frame.f_back
    while outer is not None:
        if outer.f_code is Tensor.__len__.__code__ and outer.f_back is not None:
            caller = outer.f_back
        outer = outer.f_back
    return caller


@contextmanager
def _replaced(files: Sequence[_File]) -> Iterator[None]:
    """Within the block ``len`` is open in some files."""
    own = [{"len": file["len"]} if "len" in file else {} for file in files]
    try:
        for file in files:
            file["len"] = _len
        yield
    finally:
        for file, kept in zip(files, own, strict=True):
            file.pop("len", None)
            file.update(kept)


def _len(value: Any, /) -> Any:
    """As ``len``, but for a tensor whose first size is open."""
    return value.shape[0] if isinstance(value, Tensor) and _is_open(value) else builtins.len(value)


def _is_open(value: Tensor) -> bool:
    return value.ndim > 0 and isinstance(value.shape[0], torch.SymInt)
