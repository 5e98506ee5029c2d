"""Wrong names of arguments are answered with the right one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from secateur.core.errors import SecateurError, unknown

Call = TypeVar("Call", bound=Callable[..., Any])

_ELSEWHERE = {"round_to": "granularity=Neuron(round_to=8)", "pooling": "granularity=Block(4, 1, pooling='max')",
             "least": "scope=Layer(min_sparsity=0.2)", "most": "scope=Global(max_sparsity=0.95)",
             "min_sparsity": "scope=Layer(min_sparsity=0.2)", "max_sparsity": "scope=Global(max_sparsity=0.95)",
             "budget": "scope=Budget(ms=2.5, batch=64)", "loss": "data=Samples(inputs, labels, loss=...)",
             "epochs": "recovery=Finetune(epochs=3)", "neurons": "granularity='neuron'",
             "channels": "granularity='neuron'", "filters": "granularity='neuron'", "pruning_ratio": "sparsity=0.5"}
"""Where a setting lives that is no argument of its own."""


def answer_wrong_names(call: Call) -> Call:
    """The function, with a :class:`SecateurError` that has the right name where an argument's name is unknown."""
    known = [name for name in inspect.signature(call).parameters if name != "self"]

    @functools.wraps(call)
    def checked(*args: Any, **given: Any) -> Any:
        for name in given:
            if name not in known:
                what = call.__qualname__.removesuffix(".__init__")
                if name in _ELSEWHERE:
                    raise SecateurError(f"{what}: unknown argument '{name}': that is {_ELSEWHERE[name]}")
                raise unknown(f"argument of {what}", name, known)
        return call(*args, **given)

    return cast(Call, checked)
