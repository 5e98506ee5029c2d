"""A segment as one opaque torch operator, so that ``torch.compile`` and ``torch.export`` keep it whole."""

from __future__ import annotations

import secrets
import weakref
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import UnsupportedError

_RUNNERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def register(runner: Any) -> int:
    """A number under which the operator finds a runner, as long as it lives; no other process has the same."""
    handle = secrets.randbits(62)
    _RUNNERS[handle] = runner
    return handle


def find(handle: int) -> Any:
    """The runner behind a number.

    Raises:
        UnsupportedError: it is gone, or lives in another process.
    """
    found = _RUNNERS.get(handle)
    if found is None:
        raise UnsupportedError("the compiled network behind this exported program is gone, or lives in another "
                               "process; export the pruned model instead and compile it where it is loaded")
    return found


@torch.library.custom_op("secateur::segment", mutates_args=())
def segment(inputs: list[Tensor], handle: int) -> list[Tensor]:
    """Run a segment."""
    return list(find(handle).call(tuple(inputs)))


@segment.register_fake
def _(inputs: list[Tensor], handle: int) -> list[Tensor]:
    segment = find(handle).segment
    lead = segment.lead(inputs[0].shape)
    return [inputs[0].new_empty((*lead, *v.shape), dtype=torch.float32) for v in segment.outputs]
