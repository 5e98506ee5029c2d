"""A network's way into eight bits: layers rounded to nearest, or so that they make up for what was lost before them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.pruning.signals.unfold import rows_in, without_padding
from secateur.quantization.kinds import kind_of, refusals
from secateur.quantization.layers.base import Inputs, Int8Layer, Int8Product
from secateur.quantization.observe import Observed, observe
from secateur.quantization.replace import replace_layers
from secateur.quantization.settings import Int8
from secateur.recovery.paused import PausedCalls
from secateur.recovery.rounding import Moments, moved_bias, round_rows

_ROWS = 1 << 16
"""Rows of a layer's inputs that rounding looks at."""
_ROOM = 1 << 31
"""Bytes that calls may hold while they wait at a layer."""
_HELD = 8
"""A call that waits holds about so many times what the largest layer reads, in both networks."""


@dataclass(eq=False)
class Conversion:
    """A network in float32, never changed, with all that its layers in eight bits follow from.

    Attributes:
        whole: the network, its batch norms folded.
        settings: how it is quantised.
        samples: what ranges and rounding follow from.
        kept: the layers that were asked to stay.
        seed: of the draw of values that ranges follow from.
    """

    whole: nn.Module
    settings: Int8
    samples: Calibration | None
    kept: frozenset[str]
    seed: int

    @cached_property
    def left(self) -> dict[str, str]:
        """The layers with weights that stay in float32, with the reason as a clause."""
        asked = (n for n in self.kept if kind_of(self.whole.get_submodule(n)))
        return {**refusals(self.whole), **dict.fromkeys(asked, "keep names it")} | dict.fromkeys(
            (n for n in self._able if n not in self.names), "it is never called as a module")

    @cached_property
    def names(self) -> list[str]:
        """The layers that can be in eight bits, in the order in which they are called where there are samples."""
        return [*self._seen.calls] if self.samples is not None else self._able

    @cached_property
    def _able(self) -> list[str]:
        out = refusals(self.whole).keys() | self.kept
        return [name for name, module in self.whole.named_modules() if name not in out and kind_of(module)]

    @cached_property
    def _seen(self) -> Observed:
        return Observed() if self.samples is None else observe(self.whole, self.samples, self._able, self.seed)

    @cached_property
    def _layers(self) -> dict[str, Int8Layer]:
        """Each layer, its weights rounded to nearest."""
        found = dict[str, Int8Layer]()
        for name in self.names:
            module = self.whole.get_submodule(name)
            kind = kind_of(module)
            assert kind is not None
            static = kind.reads_codes and self.settings.activations == "static"
            found[name] = kind.of(module, Inputs(
                self._seen.observers[name].range(self.settings.ranges) if static else None))
        return found

    def nearest(self) -> nn.Module:
        """The network with all weights rounded to nearest."""
        return replace_layers(copy.deepcopy(self.whole), copy.deepcopy(self._layers))

    @cached_property
    def _paid(self) -> dict[str, Int8Product]:
        """The layers whose rounding can be made up for."""
        return {name: layer for name, layer in self._layers.items()
                if name and isinstance(layer, Int8Product) and self._seen.calls.get(name) == 1}

    def compensated(self) -> nn.Module | None:
        """The network whose layers make up for what those before them lose; None where none can."""
        if self.samples is None or not self._paid:
            return None
        made, batches = self.nearest(), self._batches(self.samples)
        with (PausedCalls(copy.deepcopy(self.whole), batches, [*self._paid]) as before,
              PausedCalls(made, batches, [*self._paid]) as now):
            for name, layer in self._paid.items():
                moments = self._moments(name, layer, batches, before.inputs(name), now.inputs(name))
                before.go_on(name, self.whole.get_submodule(name))
                now.go_on(name, self._compensated(name, layer, moments) if moments.count else layer)
        return made

    def _batches(self, samples: Calibration) -> list[Batch]:
        """The first samples, as many as there is room for while all of their calls wait at one layer."""
        return [*samples][:max(1, int(_ROOM / (_HELD * max(self._seen.bytes.values()))))]

    def _compensated(self, name: str, layer: Int8Product, moments: Moments) -> Int8Product:
        """A layer whose rounded weights and bias make up for what is lost."""
        module: Any = self.whole.get_submodule(name)
        weight = module.weight.detach()
        rounded = round_rows(weight.flatten(1), layer.scale, moments)
        own = copy.copy(module)
        own._parameters = dict(module._parameters)
        own.weight = nn.Parameter(rounded.view_as(weight), requires_grad=False)
        if module.bias is not None:
            shift = moved_bias(weight.flatten(1), rounded, moments)
            own.bias = nn.Parameter(module.bias.detach() + shift, requires_grad=False)
        return type(layer).of(own, layer.inputs, layer.scale)

    def _moments(self, name: str, layer: Int8Product, batches: Sequence[Batch], before: Mapping[int, Tensor],
                 now: Mapping[int, Tensor]) -> Moments:
        """What a layer is about to read in the network in float32 and in the network so far."""
        module = self.whole.get_submodule(name)
        numbers = sorted(before.keys() & now.keys())
        moments = Moments.empty(*layer.gram_shape, layer.codes.device)
        for number in numbers:
            both = [rows_in(module, without_padding(module, batches[number], x.float()))
                    for x in (before[number], layer.seen(now[number]))]
            every = -(-both[0].shape[1] * len(numbers) // _ROWS)
            moments.add(both[1][:, ::every], both[0][:, ::every])
        return moments
