"""What a traced graph takes: the example's inputs, in whatever way they are passed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.errors import SecateurError
from secateur.graph.capture import Captured, describe


class Taken:
    """The inputs that a traced graph was made for.

    Args:
        forward: the network's own, which says how its inputs are called.
        captured: the trace, with the example.
        open_batch: the first axis of every tensor may have another size.
    """

    def __init__(self, forward: Callable[..., Any], captured: Captured, open_batch: bool):
        found = inspect.signature(forward).parameters.values()
        self.parameters = [(p.name, p.kind, p.default is not p.empty) for p in found]
        self.open_batch = open_batch
        self.names = list(self._bound(captured.args, captured.kwargs))
        self.like = [_like(v) for v in self._leaves(captured.args, captured.kwargs)]

    def leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The inputs of the graph in its order.

        Raises:
            SecateurError: other inputs, sizes or settings than the graph was traced with.
        """
        found = self._leaves(args, kwargs)
        if len(found) != len(self.like):
            raise SecateurError(f"the cut graph takes {len(self.like)} inputs as the example had, got {len(found)}")
        for position, (value, like) in enumerate(zip(found, self.like, strict=True)):
            if not self._fits(value, like):
                allowed = f"{like[1:] if self.open_batch else like} (the example's sizes"
                allowed += ", behind any batch)" if self.open_batch else ")"
                got = list(value.shape) if isinstance(value, Tensor) else repr(value)
                raise SecateurError(f"input {position} of the cut graph: got {got}, allowed: "
                                    f"{allowed if isinstance(like, tuple) else repr(like)}")
        return found

    def _fits(self, value: Any, like: Any) -> bool:
        if not isinstance(value, Tensor) or not isinstance(like, tuple):
            return not isinstance(value, Tensor) and type(value) is type(like) and bool(value == like)
        start = int(self.open_batch)
        return len(value.shape) == len(like) and tuple(value.shape[start:]) == like[start:]

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        made = [inspect.Parameter(n, k, default=None if d else inspect.Parameter.empty) for n, k, d in self.parameters]
        try:
            return inspect.Signature(made).bind(*args, **kwargs).arguments
        except TypeError as error:
            given = ", ".join([*map(describe, args), *kwargs])
            raise SecateurError(f"inputs of the cut graph: {error}; got {given or 'nothing'}") from error

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        bound = self._bound(args, kwargs)
        if list(bound) != self.names:
            raise SecateurError(f"inputs of the cut graph: got {', '.join(bound)}, allowed: {', '.join(self.names)}, "
                                "as in the example")
        return pytree.tree_leaves(list(bound.values()))


def _like(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value
