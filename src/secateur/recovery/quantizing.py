"""A network in, the network in eight or sixteen bits out: layer by layer, each with the inputs that it will read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.graph.check import check_weights
from secateur.measure.agreement import Agreement, agreement
from secateur.pruning.layer_rules import resolve_skip
from secateur.quantization.bf16 import Bf16Layer
from secateur.quantization.fold import fold_norms
from secateur.quantization.kinds import kind_of, refusals
from secateur.quantization.layers.base import Int8Layer
from secateur.quantization.replace import replace_layers
from secateur.quantization.settings import BitsChoice, Int8, bits_of
from secateur.recovery.conversion import Conversion
from secateur.recovery.left_out import layer_notes
from secateur.recovery.original import Original

NEAR = 0.99
"""``keep="auto"`` takes layers back to float32 until so many rows have their greatest output in the same place, or,
where outputs are no scores, until their mean cosine is at least this; of outputs of one value, until they explain so
much of the variance."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network whose layers compute in fewer bits.

    Attributes:
        network: a new network.
        left: the layers with weights that stay in float32, with the reason as a clause.
        near: how near its outputs are to those before, for samples held out; None without samples.
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
    if samples is None:
        work = Conversion(whole, settings, None, kept, seed)
        if not work.names:
            raise _nothing(model, work.left)
        return Quantized(work.nearest(), work.left)
    fold_norms(whole, next(iter(samples)))
    asked = Original(whole, samples)
    fit, held = (samples, samples) if asked.few else (part.samples for part in asked.parts)
    work = Conversion(whole, settings, fit, kept, seed)
    if not work.names:
        raise _nothing(model, work.left)
    made, near = _nearer(work, held)
    left = dict(work.left)
    if settings.keep == "auto" and is_far(near):
        made, near, back = _take_back(whole, made, held, near)
        left |= dict.fromkeys(back, "in eight bits it loses too much")
    return Quantized(made, left, near)


def _nearer(work: Conversion, held: Calibration) -> tuple[nn.Module, Agreement]:
    """The network rounded in the way that was asked for; where rounding compensates and yet leads further away for the
    samples held out, rounded to nearest.
    """
    made = [work.nearest()]
    if work.settings.rounding == "compensated" and (other := work.compensated()) is not None:
        made.append(other)
    return min(((one, agreement(work.whole, one, held)) for one in made), key=lambda pair: pair[1].error)


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
    """Refuse a network whose layers, or some of them, are in fewer bits already, or whose weights are no numbers.

    Raises:
        SecateurError: they are; NaN or infinite values among the weights.
    """
    for name, module in model.named_modules():
        if isinstance(module, (Int8Layer, Bf16Layer)):
            raise SecateurError(f"layer '{name}' is quantised already ({type(module).__name__}): prune and quantise "
                                "the network in float32")
    check_weights(model)


def is_far(near: Agreement) -> bool:
    """Whether outputs differ too much."""
    if near.same is not None:
        return not near.same >= NEAR
    # of outputs of one value a cosine tells only the sign
    return not (1 - (near.lost or 0.0) if near.values == 1 else near.cosine) >= NEAR


def _take_back(whole: nn.Module, made: nn.Module, samples: Calibration,
               near: Agreement) -> tuple[nn.Module, Agreement, list[str]]:
    """Layers back in float32, those that lose most first, until the outputs are near enough; and which these are.

    Raises:
        UnsupportedError: none is left.
    """
    losses = _losses(whole, made, samples)
    order = sorted(losses, key=lambda name: -losses[name])
    trial, back = made, list[str]()
    while is_far(near) and len(back) < len(order):
        back = order[:2 * len(back) or 1]
        trial = replace_layers(copy.deepcopy(made), {n: copy.deepcopy(whole.get_submodule(n)) for n in back})
        near = agreement(whole, trial, samples)
    if len(back) == len(order):
        raise UnsupportedError(f"in eight bits every layer of {type(whole).__name__} loses too much; allowed is "
                               "keep=(), which quantises all of them, activations='dynamic', or 16 bits")
    return trial, near, back


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
