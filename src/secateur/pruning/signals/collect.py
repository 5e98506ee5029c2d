"""One criterion's signals for one network."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from secateur.data.calibration import Calibration
from secateur.pruning.granularity.base import Unit
from secateur.pruning.granularity.neuron import unit_rows
from secateur.pruning.signals import gradients, units
from secateur.pruning.signals.base import Signals
from secateur.pruning.signals.formula import FORMULA, check_formulas, own_formulas
from secateur.pruning.signals.inputs import BUDGET, chunks, gram_sum, input_bytes, input_moments, square_sum
from secateur.pruning.signals.unfold import check_layer, groups_of, layers_with_inputs

_OF_NETWORK: dict[str, Callable[[nn.Module, Calibration], dict[str, Tensor]]] = {
    "gradient": gradients.mean_gradient, "hessian_gradient": gradients.hessian_gradient,
    "movement": gradients.movement}
_OF_INPUTS = {"input_norm", "input_gram"}


class SignalCollector:
    """Gives the signals of one tensor after the other, and gathers those of a few at a time.

    Args:
        model: the network; never changed.
        needs: what is declared; nothing else is gathered.
        tensors: the tensors that will be asked for, in that order.
        samples: what ``data=`` gave.
        example: one input of the network, where there are no samples.
        seed: what the seeds of the tensors are made from.
        budget: bytes for Gram matrices that are held at once.
    """

    def __init__(self, model: nn.Module, needs: Iterable[str], tensors: Iterable[str],
                 samples: Calibration | None = None, example: Any = None, seed: int = 0, budget: int = BUDGET):
        self.model, self.needs, self.tensors = model, frozenset(needs), list(dict.fromkeys(tensors))
        self.samples, self.seed, self.budget = samples, seed, budget
        self._example = example if example is None or isinstance(example, tuple) else (example,)
        self._inputs: dict[str, dict[str, Tensor]] = {}
        self.seen: dict[str, tuple[int, int]] = {}
        self._odd_readers: dict[str, str] = {}
        self._units: tuple[Any, dict[str, Tensor]] = (None, {})

    def of(self, granularity: str, name: str, unit: Unit | None = None) -> Signals:
        """The signals of a tensor, or of one member of a group of units."""
        found: dict[str, Any] = {}
        if "seed" in self.needs:
            found["seed"] = tensor_seed(self.seed, name)
        for need in self.needs & self._whole.keys():
            signal = self._whole[need][name]
            found[need] = unit_rows(signal, unit.member) if unit else signal
        if self.needs & _OF_INPUTS:
            found.update(self._layer(name))
        if unit:
            found.update(self._group(unit))
        return Signals(granularity, **found)

    @cached_property
    def _whole(self) -> dict[str, dict[str, Tensor]]:
        """Signals of all tensors at once: as much memory as the network, each."""
        found = {need: _OF_NETWORK[need](self.model, self.samples) for need in self.needs & _OF_NETWORK.keys()
                 if self.samples is not None}
        if "squared_gradient" in self.needs and self.samples is not None:
            found["squared_gradient"] = gradients.squared_gradient(self.model, self._checked_modules, self.samples)
        if "flow" in self.needs:
            example = self._example if self._example is not None else self.samples.example()  # type: ignore[union-attr]
            found["flow"] = gradients.flow(self.model, example)
        return found

    @cached_property
    def _own_formulas(self) -> dict[str, str]:
        """The layers that do not compute the plain formula for the samples."""
        assert self.samples is not None
        return own_formulas(self.model, layers_with_inputs(self.model), next(iter(self.samples)))

    @cached_property
    def _checked_modules(self) -> list[str]:
        """The module of every tensor, all of which compute the plain formula.

        Raises:
            UnsupportedError: one does not, or is no layer whose inputs can be seen.
        """
        modules = [units.module_name(t) for t in self.tensors]
        for name in modules:
            check_layer(name, self.model.get_submodule(name))
        check_formulas(self._own_formulas, self.model, modules)
        return modules

    def notes(self, what: str) -> list[str]:
        """What is to be known of the signals that were given: readers of units that are no plain layers."""
        return [f"{name}: {what} assumes that it computes {FORMULA}, but it {reason}"
                for name, reason in self._odd_readers.items()]

    def _layer(self, name: str) -> dict[str, Tensor]:
        """Moments of a layer's inputs, those of the layers that share its chunk gathered with them."""
        if name not in self._inputs:
            assert self.samples is not None
            modules = dict(zip(self.tensors, self._checked_modules, strict=True))
            sizes = {t: input_bytes(self.model.get_submodule(m)) for t, m in modules.items()}
            chunk = next(c for c in chunks(sizes, self.budget) if name in c)
            gram = "input_gram" in self.needs
            add = gram_sum if gram else square_sum
            seen = input_moments(self.model, [modules[t] for t in chunk], self.samples, add)
            sizes = {t: self.model.get_parameter(t)[0].numel() for t in chunk if gram}
            self.seen |= {modules[t]: (seen[modules[t]].rows, size) for t, size in sizes.items()}
            self._inputs = {t: self._moments(t, seen[modules[t]].mean, gram) for t in chunk}
        return {need: self._inputs[name][need] for need in self.needs & _OF_INPUTS}

    def _moments(self, name: str, mean: Tensor, gram: bool) -> dict[str, Tensor]:
        module = self.model.get_submodule(units.module_name(name))
        weight, groups = self.model.get_parameter(name), groups_of(module)
        dtype = torch.promote_types(weight.dtype, torch.float32)
        norm = (mean.diagonal(dim1=1, dim2=2) if gram else mean).sqrt().to(dtype)
        norm = norm.repeat_interleave(weight.shape[0] // groups, 0) if groups > 1 else norm
        found = {"input_norm": norm.view(-1, *weight.shape[1:])}
        return {**found, "input_gram": mean} if gram else found

    def _group(self, unit: Unit) -> dict[str, Tensor]:
        """Signals of a group, kept for its next member."""
        if self._units[0] is not unit.group:
            found: dict[str, Tensor] = {}
            if self.needs & {"unit_gram", "unit_mean", "unit_zeros"} and self.samples is not None:
                found.update(units.activations(self.model, unit.group, self.samples, "unit_gram" in self.needs))
                if "unit_gram" in self.needs:
                    self.seen[unit.group.name] = (int(found["unit_rows"]), unit.group.units)
                if "outgoing" in self.needs:
                    readers = [units.module_name(m.tensor) for m in units.readers(self.model, unit.group)]
                    self._odd_readers |= {n: self._own_formulas[n] for n in readers if n in self._own_formulas}
            if "outgoing" in self.needs:
                found["outgoing"] = units.outgoing(self.model, unit.group)
            if "scale" in self.needs:
                found["scale"] = units.scale(self.model, unit.group)
            self._units = (unit.group, {n: t for n, t in found.items() if n in self.needs})
        return self._units[1]


def tensor_seed(seed: int, name: str) -> int:
    """A seed for one tensor: stable between runs and machines, different between tensors.

    Knuth's multiplier spreads neighbouring seeds, so that a sum with the name's hash does not make them meet.
    """
    return (seed * 2_654_435_761 + zlib.crc32(name.encode())) % 2**63
