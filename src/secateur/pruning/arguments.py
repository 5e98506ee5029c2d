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
             "channel": "granularity='neuron'", "channels": "granularity='neuron'", "filter": "granularity='neuron'",
             "filters": "granularity='neuron'", "pruning_ratio": "sparsity=0.5",
             "recovery": "what secateur.prune does after a cut"}
"""Where a setting lives that is no argument of its own."""


def answer_wrong_names(call: Call) -> Call:
    """The function, with a :class:`SecateurError` that has the right name where an argument's name is unknown."""
    parameters = inspect.signature(call).parameters.values()
    known = [one.name for one in parameters if one.name != "self"]
    by_place = [one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]

    @functools.wraps(call)
    def checked(*args: Any, **given: Any) -> Any:
        what = call.__qualname__.removesuffix(".__init__")
        if len(args) > len(by_place):
            raise SecateurError(f"{what}: got {len(args)} arguments by place, allowed are "
                                f"{', '.join(name for name in by_place if name != 'self')}; give the others by name, "
                                "such as granularity='neuron'")
        for name in given:
            if name not in known:
                if name in _ELSEWHERE:
                    raise SecateurError(f"{what}: unknown argument '{name}': that is {_ELSEWHERE[name]}")
                raise unknown(f"argument of {what}", name, known)
        return call(*args, **given)

    return cast(Call, checked)
