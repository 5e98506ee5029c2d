"""Passes over a network in which layers that are done give what they gave before, so that none is computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from secateur.core.tensors import tensors_in
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.data.forward import Seen, call, watch

ROOM = 1 << 29
"""Bytes of the outputs of layers that are kept of one network; beyond, they are computed again."""


class Passes:
    """What layers of one network read or give for numbered batches.

    The outputs of layers that will not change any more are kept, up to ``room`` bytes.

    ``samples`` are the batches, which are numbered in their order.
    """

    def __init__(self, model: nn.Module, samples: Calibration | None, room: int = ROOM):
        self.model, self.samples, self.room = model, samples, room
        self._outputs: dict[tuple[str, int], Tensor] = {}
        self._given: dict[int, list[Tensor]] = {}

    def given(self, number: int, batch: Batch) -> list[Tensor]:
        """The tensors that the network itself gives; the network will not change any more."""
        if number in self._given:
            return self._given[number]
        with torch.no_grad(), watch(self.model, {}):
            made = tensors_in(call(self.model, batch))
        if (size := sum(one.nbytes for one in made)) <= self.room:
            self.room -= size
            self._given[number] = made
        return made

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
