"""Passes over a network in which layers that are done give what they gave before, so that none is computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from secateur.data.batch import Batch
from secateur.data.forward import Seen, call, watch


class Passes:
    """What layers of one network read or give for numbered batches.

    The outputs of layers that will not change any more are kept, up to ``room`` bytes.
    """

    def __init__(self, model: nn.Module, room: int):
        self.model, self.room = model, room
        self._outputs: dict[tuple[str, int], Tensor] = {}

    def input(self, name: str, number: int, batch: Batch, done: Sequence[str]) -> Tensor:
        """What a layer reads; layers named in ``done`` will not change any more."""
        found: list[Tensor] = []

        def see(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            found.append(inputs[0])
            raise Seen

        self._run(batch, number, done, self.model.get_submodule(name).register_forward_pre_hook(see))
        return found[0]

    def output(self, name: str, number: int, batch: Batch, done: Sequence[str]) -> Tensor:
        """What a layer gives; layers named in ``done``, that one among them, will not change any more."""
        found: list[Tensor] = []

        def see(_: nn.Module, __: Any, made: Tensor) -> None:
            found.append(made)
            if (name, number) not in self._outputs:
                raise Seen

        if (name, number) not in self._outputs:
            self._run(batch, number, done, self.model.get_submodule(name).register_forward_hook(see))
        return self._outputs[name, number] if (name, number) in self._outputs else found[0]

    def _run(self, batch: Batch, number: int, done: Sequence[str], handle: RemovableHandle) -> None:
        """One call of the network with a hook that is taken away again."""
        with torch.no_grad(), watch(self.model, {}), ExitStack() as stack:
            stack.callback(handle.remove)
            for name in done:
                stack.enter_context(self._replay(name, number))
            call(self.model, batch)

    @contextmanager
    def _replay(self, name: str, number: int) -> Iterator[None]:
        """Makes a layer give what it gave for this batch before, as a copy, because later layers may write over it."""
        layer, key = self.model.get_submodule(name), (name, number)
        own, forward = vars(layer).get("forward"), layer.forward

        def replay(*inputs: Any, **named: Any) -> Any:
            if key in self._outputs:
                return self._outputs[key].clone()
            made = forward(*inputs, **named)
            if isinstance(made, Tensor) and made.nbytes <= self.room:
                self.room -= made.nbytes
                self._outputs[key] = made.clone()
            return made

        layer.forward = replay  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            del layer.forward
            if own is not None:
                layer.forward = own
