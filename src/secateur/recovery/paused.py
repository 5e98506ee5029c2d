"""Calls of a network that stop at each of its layers, so that the layer may be changed before they go on.

A method that goes through a network layer by layer wants what each layer reads when those before it are done. Calls
that stop give that for the price of one call a batch, however many layers there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Semaphore, Thread, current_thread
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from secateur.core.modules import same_modes
from secateur.data.batch import Batch
from secateur.data.forward import call
from secateur.quantization.replace import replace_layers


class _Stop(BaseException):
    """Ends a call that nobody waits for any more; no code of a network may catch it by accident."""


class _Call:
    """One call of a network in a thread of its own. Threads never run side by side: one runs while another waits."""

    def __init__(self, network: nn.Module, batch: Batch):
        self.network, self.batch = network, batch
        self.at, self.read, self.error = "", torch.empty(0), None
        self.ended, self._dropped = False, False
        self._goes, self._waits = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, daemon=True)

    error: BaseException | None

    def start(self) -> None:
        """Run to the first layer."""
        self._thread.start()
        self._wait()

    def go_on(self) -> None:
        """Run to the next layer."""
        self._goes.release()
        self._wait()

    def drop(self) -> None:
        """End the call where it is."""
        if not self.ended:
            self._dropped = True
            self._goes.release()
        self._thread.join()

    def stop_at(self, name: str, x: Tensor) -> None:
        """Wait at a layer that is to read ``x``; called in the thread of the call."""
        self.at, self.read = name, x
        self._waits.release()
        self._goes.acquire()
        self.read = torch.empty(0)
        if self._dropped:
            raise _Stop

    def _wait(self) -> None:
        self._waits.acquire()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        _RUNNING[self._thread] = self
        try:
            with torch.no_grad():
                call(self.network, self.batch)
        except _Stop:
            pass
        except BaseException as error:
            self.error = error
        finally:
            del _RUNNING[self._thread]
            self.ended, self.at = True, ""
            self._waits.release()


_RUNNING: dict[Thread, _Call] = {}


class _Gate(nn.Module):
    """Stands in a layer's place: a call stops here, and goes on through the layer that is here by then."""

    def __init__(self, name: str, layer: nn.Module):
        super().__init__()
        self.name, self.layer = name, layer

    def __getattr__(self, name: str) -> Any:
        """The layer's own attributes, such as the type of its weight, which code around it may read."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, x: Tensor) -> Any:
        """What the layer gives."""
        _RUNNING[current_thread()].stop_at(self.name, x)
        return self.layer(x)


class PausedCalls:
    """A network's calls for some batches, in evaluation mode, which stop at some of its layers.

    Use it as a context; afterwards the network has its layers, or those that were put in their place.

    Args:
        network: changed in place.
        batches: one call each.
        names: the layers; each is called once in a call.
    """

    def __init__(self, network: nn.Module, batches: Sequence[Batch], names: Sequence[str]):
        self.network = network
        self._gates = {name: _Gate(name, network.get_submodule(name)) for name in names}
        self._calls = [_Call(network, batch) for batch in batches]

    def __enter__(self) -> Self:
        replace_layers(self.network, self._gates)
        self._modes = same_modes(self.network)
        self._modes.__enter__()
        self.network.eval()
        try:
            for one in self._calls:
                one.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._close()

    def inputs(self, name: str) -> Mapping[int, Tensor]:
        """What the layer is about to read, by the batch's number, for those batches that reached it."""
        return {number: one.read for number, one in enumerate(self._calls) if one.at == name}

    def go_on(self, name: str, layer: nn.Module) -> None:
        """Put a layer in this one's place, and let the calls run to the next one."""
        self._gates[name].layer = layer
        for one in self._calls:
            if one.at == name:
                one.go_on()

    def _close(self) -> None:
        for one in self._calls:
            if one._thread.ident is not None:
                one.drop()
        self._modes.__exit__(None, None, None)
        replace_layers(self.network, {name: gate.layer for name, gate in self._gates.items()})
