"""A network in, the network in eight or sixteen bits out: layer by layer, each with the inputs that it will read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.graph.quantised import check_plain
from secateur.measure.agreement import Agreement, agreement
from secateur.pruning.layer_rules import resolve_skip
from secateur.pruning.signals.unfold import rows_in, without_padding
from secateur.quantization.arithmetic import codes_and_scale, least_scale
from secateur.quantization.bf16 import Bf16Layer
from secateur.quantization.fold import fold_norms
from secateur.quantization.kinds import kind_of, refusals
from secateur.quantization.layers.base import Inputs, Int8Layer, Int8Product
from secateur.quantization.observe import Observed, observe
from secateur.quantization.replace import replace_layers
from secateur.quantization.scales import scales_of
from secateur.quantization.settings import BitsChoice, Int8, bits_of
from secateur.recovery.layerwise_passes import Passes
from secateur.recovery.left_out import layer_notes
from secateur.recovery.rounding import Moments, moved_bias, round_rows

_ROWS = 1 << 16
"""Rows of a layer's inputs that rounding looks at."""
NEAR = 0.99
"""``keep="auto"`` takes layers back to float32 until so many rows have their greatest output in the same place, or,
where outputs are no scores, until their mean cosine is at least this."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network whose layers compute in fewer bits.

    Attributes:
        network: a new network.
        left: the layers with weights that stay in float32, with the reason as a clause.
        near: how near its outputs are to those before, for the samples; None without samples.
    """

    network: nn.Module
    left: Mapping[str, str] = field(default_factory=dict)
    near: Agreement | None = None

    def notes(self, model: nn.Module) -> list[str]:
        """A note for each reason, with the names and classes of the layers."""
        return [*layer_notes("not quantised", model, self.left)]


def quantized(model: nn.Module, bits: BitsChoice, samples: Calibration | None, seed: int = 0) -> Quantized:
    """A network in so many bits, a new one; see :func:`quantize_network`."""
    settings = bits if isinstance(bits, Int8) else Int8()
    return round_to_bf16(model) if bits_of(bits) == 16 else quantize_network(model, settings, samples, seed)


def check_bits(model: nn.Module, bits: BitsChoice, samples: Calibration | None) -> None:
    """Refuse what cannot be quantised before anything is cut.

    Raises:
        SecateurError: a network that is quantised already, or static ranges without samples.
    """
    check_not_quantized(model)
    if bits_of(bits) == 8 and samples is None and (not isinstance(bits, Int8) or bits.activations == "static"):
        raise SecateurError("static ranges of activations need calibration inputs: pass data= (inputs), or "
                            "Int8(activations='dynamic')")


def quantize_network(model: nn.Module, settings: Int8, samples: Calibration | None, seed: int = 0) -> Quantized:
    """A network in eight bits; the one that is passed in stays as it is.

    Raises:
        SecateurError: samples that are needed and missing, NaN among what layers read, a network that is quantised
            already, or one of which no layer has a form in eight bits.
    """
    check_bits(model, settings, samples)
    kept = frozenset() if settings.keep == "auto" else resolve_skip(model, settings.keep, "keep")
    whole = copy.deepcopy(model)
    if samples is not None:
        fold_norms(whole, next(iter(samples)))
    work = _Work(whole, settings, samples, seed, kept)
    made = work.network()
    if samples is None:
        return Quantized(made, work.left)
    near = agreement(whole, made, samples)
    if settings.keep == "auto" and is_far(near):
        made, near = work.taken_back(made, samples, near)
    return Quantized(made, work.left, near)


def round_to_bf16(model: nn.Module) -> Quantized:
    """A network whose products are computed in bfloat16; the one that is passed in stays as it is."""
    check_not_quantized(model)
    made = copy.deepcopy(model)
    left = refusals(made)
    names = [name for name, module in made.named_modules() if name not in left and kind_of(module)]
    if not names:
        raise _nothing(model, left)
    return Quantized(replace_layers(made, {name: Bf16Layer(made.get_submodule(name)) for name in names}), left)


def check_not_quantized(model: nn.Module) -> None:
    """Refuse a network whose layers, or some of them, are in fewer bits already.

    Raises:
        SecateurError: they are.
    """
    for name, module in model.named_modules():
        if isinstance(module, (Int8Layer, Bf16Layer)):
            raise SecateurError(f"layer '{name}' is quantised already ({type(module).__name__}): prune and quantise "
                                "the network in float32")
    check_plain(model)


def is_far(near: Agreement) -> bool:
    """Whether outputs differ too much."""
    return not (near.same if near.same is not None else near.cosine) >= NEAR


@dataclass(eq=False)
class _Work:
    """One conversion: ``whole`` is the network in float32, its batch norms folded."""

    whole: nn.Module
    settings: Int8
    samples: Calibration | None
    seed: int
    kept: frozenset[str]
    left: dict[str, str] = field(default_factory=dict)

    def network(self) -> nn.Module:
        """All layers that can be in eight bits."""
        self.left = {**refusals(self.whole), **dict.fromkeys(
            (n for n in self.kept if kind_of(self.whole.get_submodule(n))), "keep names it")}
        names = [n for n, m in self.whole.named_modules() if n not in self.left and kind_of(m)]
        seen = Observed() if self.samples is None else observe(self.whole, self.samples, names, self.seed)
        if self.samples is not None:
            self.left |= dict.fromkeys((n for n in names if n not in seen.calls), "it is never called as a module")
            names = [n for n in seen.calls if n not in self.left]
        if not names:
            raise _nothing(self.whole, self.left)
        made, done = copy.deepcopy(self.whole), list[str]()
        passes = Passes(self.whole, self.samples), Passes(made, self.samples)
        for name in names:
            layer = self._layer(name, seen, passes, done)
            made = replace_layers(made, {name: layer})
            if name == "":
                return made
            done.append(name)
        return made

    def _layer(self, name: str, seen: Observed, passes: tuple[Passes, Passes], done: list[str]) -> Int8Layer:
        """One layer in eight bits, when those in ``done`` are."""
        module = self.whole.get_submodule(name)
        kind = kind_of(module)
        assert kind is not None
        inputs = Inputs()
        if kind.reads_codes and self.settings.activations == "static":
            inputs = Inputs(seen.observers[name].range(self.settings.ranges))
        if not issubclass(kind, Int8Product) or self.settings.rounding == "nearest" or seen.calls.get(name) != 1:
            return kind.of(module, inputs)
        return self._compensated(kind, name, module, inputs, passes, done)

    def _compensated(self, kind: type[Int8Product], name: str, module: Any, inputs: Inputs,
                     passes: tuple[Passes, Passes], done: list[str]) -> Int8Layer:
        weight = module.weight.detach()
        bias = None if module.bias is None else module.bias.detach()
        given = None if inputs.scale is None else inputs.scale.to(weight.device)
        scale = scales_of(weight, least_scale(bias, given))
        moments = self._moments(name, kind.of(module, inputs), module, passes, done)
        rounded = round_rows(weight.flatten(1), scale, moments)
        own = copy.copy(module)
        own._parameters = dict(module._parameters)
        shift = moved_bias(weight.flatten(1), rounded, moments)
        own.weight = nn.Parameter(rounded.view_as(weight), requires_grad=False)
        if bias is not None:
            own.bias = nn.Parameter(bias + shift, requires_grad=False)
        return kind.of(own, inputs, scale)

    def _moments(self, name: str, layer: Int8Product, module: nn.Module, passes: tuple[Passes, Passes],
                 done: list[str]) -> Moments:
        """What a layer reads in both networks."""
        moments: Moments | None = None
        for before, now in self._rows(name, layer, module, passes, done):
            if moments is None:
                moments = Moments.empty(len(now), now.shape[-1], now.device)
            moments.add(now, before)
        assert moments is not None
        return moments

    def _rows(self, name: str, layer: Int8Product, module: nn.Module, passes: tuple[Passes, Passes],
              done: list[str]) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of a layer's inputs before, and as codes stand for them in the int8 network."""
        assert self.samples is not None
        count = sum(1 for _ in self.samples)
        for number, batch in enumerate(self.samples):
            before, now = (one.input(name, number, batch, done) for one in passes)
            axes = (-1,) if not isinstance(module, _ConvNd) else tuple(range(1, now.ndim))
            now = _rounded(now, layer, axes)
            both = [rows_in(module, without_padding(module, batch, x.float())) for x in (before, now)]
            every = -(-both[0].shape[1] * count // _ROWS)
            yield both[0][:, ::every], both[1][:, ::every]

    def taken_back(self, made: nn.Module, samples: Calibration, near: Agreement) -> tuple[nn.Module, Agreement]:
        """Layers back in float32, those that lose most first, until the outputs are near enough."""
        losses = _losses(self.whole, made, samples)
        order = sorted(losses, key=lambda name: -losses[name])
        count, best = 1, (made, near)
        while is_far(near) and count < len(order):
            back = {name: copy.deepcopy(self.whole.get_submodule(name)) for name in order[:count]}
            trial = replace_layers(copy.deepcopy(made), back)
            near = agreement(self.whole, trial, samples)
            best, taken = (trial, near), order[:count]
            count *= 2
        if best[0] is not made:
            self.left |= dict.fromkeys(taken, "in eight bits it loses too much")
        return best


def _rounded(x: Tensor, layer: Int8Layer, axes: tuple[int, ...]) -> Tensor:
    """What the codes of a layer's inputs stand for."""
    codes, scale = codes_and_scale(x, layer.input_scale, layer.input_zero, axes)
    return codes * scale


def _losses(whole: nn.Module, made: nn.Module, samples: Calibration) -> dict[str, float]:
    """How far each int8 layer's outputs are from the layer's in float32, for the same inputs, of their size."""
    layers = {name: m for name, m in made.named_modules() if isinstance(m, Int8Layer)}
    apart, size = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 1e-30)

    def see(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            own = layers[name](*inputs)
            own = own[0] if isinstance(own, tuple) else own
            apart[name] += float((own - first).square().sum())
            size[name] += float(first.square().sum())
        return hook

    with watch(whole, {name: see(name) for name in layers}), torch.no_grad():
        for batch in samples.first(512):
            call(whole, batch)
    return {name: apart[name] / size[name] for name in layers}


def _nothing(model: nn.Module, left: Mapping[str, str]) -> UnsupportedError:
    reasons = "; ".join(f"'{name}': {why}" for name, why in list(left.items())[:3])
    return UnsupportedError(f"no layer of {type(model).__name__} can be quantised; allowed are networks with linear, "
                            f"convolutional, recurrent or embedding layers{': ' + reasons if reasons else ''}")
