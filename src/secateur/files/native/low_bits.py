"""The layers of a network that compute in fewer bits: named in the header of a file, put back into a factory's network.

A file holds the class of each such layer, and its tensors like any others. Everything else, such as a stride, is that
of the factory's layer whose place it takes; so nothing in the file is trusted with more than the kinds below.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import nn

from secateur.core.errors import SecateurError
from secateur.core.tensors import dtype_name
from secateur.files.native import strict
from secateur.files.native.dtypes import dtype_of
from secateur.files.native.layout import Stored
from secateur.quantization.bf16 import Bf16Layer
from secateur.quantization.kinds import int8_kinds, kind_of
from secateur.quantization.layers.base import Inputs, Int8Layer
from secateur.quantization.ranges import Range
from secateur.quantization.replace import replace_layers

BIASED = "Biased"
"""A layer in float32 that may have got a bias from the norm after it."""
_MAY_GET_ONE = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def layers_of(model: nn.Module) -> dict[str, str]:
    """The kinds of the layers in fewer bits by name; beside int8 layers also what folded norms have left."""
    found, named = dict[str, str](), list(model.named_modules())
    folds = any(isinstance(module, Int8Layer) for _, module in named)
    within = tuple(f"{name}." if name else "" for name, module in named if isinstance(module, Bf16Layer))
    for name, module in named:
        if isinstance(module, (Int8Layer, Bf16Layer)):
            found[name] = type(module).__name__
        elif folds and not name.startswith(within):
            if type(module) is nn.Identity:
                found[name] = "Identity"
            elif type(module) in _MAY_GET_ONE and module.bias is not None:
                found[name] = BIASED
    return found


def layers_as_text(layers: Mapping[str, str]) -> str:
    """The layers as the header holds them."""
    return json.dumps(dict(layers), separators=(",", ":"))


def read_layers(text: str, where: str) -> dict[str, str]:
    """What :func:`layers_as_text` wrote.

    Raises:
        SecateurError: a kind that is not known.
    """
    told = strict.typed(strict.read_json(text, where), dict, where)
    known = [*sorted({kind.__name__ for kind in int8_kinds().values()}), "Bf16Layer", "Identity", BIASED]
    for name, kind in told.items():
        if strict.typed(kind, str, f"{where}, '{strict.short(name)}'") not in known:
            raise SecateurError(f"{where}, '{strict.short(name)}' is a '{strict.short(kind)}'; allowed: "
                                f"{', '.join(known)}")
    return dict(told)


def put_back(network: nn.Module, layers: Mapping[str, str], stored: Mapping[str, Stored], where: str) -> nn.Module:
    """Put layers in fewer bits into the places of a factory's layers; their tensors are still to be filled.

    Raises:
        SecateurError: the factory's network has no layer there, or one whose place it cannot take.
    """
    made = dict[str, nn.Module]()
    for name, kind in layers.items():
        what, start = f"{where}, '{strict.short(name)}'", f"{name}." if name else ""
        try:
            own = network.get_submodule(name)
        except AttributeError as error:
            raise SecateurError(f"{what} is of kind {kind}, but the network that make_model makes has no such layer"
                                ) from error
        held = {one.removeprefix(start): told for one, told in stored.items() if one.startswith(start)}
        if (new := _made(own, kind, held, what)) is not own:
            made[name] = new
    return replace_layers(network, made)


def _made(own: nn.Module, kind: str, held: Mapping[str, Stored], what: str) -> nn.Module:
    """The layer that takes the place of a factory's layer, which it may be itself."""
    if kind == "Identity" and isinstance(own, (*_NORMS, nn.Identity)):
        return nn.Identity()
    if kind == BIASED and isinstance(own, _MAY_GET_ONE):
        return _with_bias(own)
    int8 = kind_of(own)
    if int8 and kind == "Bf16Layer":
        return Bf16Layer(own)
    if int8 and kind == int8.__name__ and not int8.refusal(own):
        return _int8_layer(own, int8, held, what)
    raise SecateurError(f"{what} is of kind {kind}, which cannot take the place of the {type(own).__name__} that "
                        "make_model makes")


def _with_bias(own: nn.Linear | nn.Conv1d | nn.Conv2d) -> nn.Module:
    if own.bias is None:
        own.register_parameter("bias", nn.Parameter(own.weight.new_zeros(len(own.weight))))
    return own


def _int8_layer(own: nn.Module, kind: type[Int8Layer], held: Mapping[str, Stored], what: str) -> Int8Layer:
    """A layer in eight bits with the settings of a layer of the factory; its codes are those of the factory's weights.

    Raises:
        SecateurError: the file has a tensor of a type that such a layer does not have.
    """
    static = "input_scale" in held
    made = kind.of(own, Inputs(Range(-1.0, 1.0) if static else None))
    if "bias" in held and "bias" in made._buffers and made.bias is None:
        made.keep("bias", made.scale.new_zeros(len(made.scale), dtype=torch.int32 if static else torch.float32))
    for name, tensor in made.named_buffers():
        wanted = dtype_name(tensor.dtype)
        # A network that was cast to another type of fractions keeps it.
        if name in held and held[name].dtype != wanted and not (
                tensor.is_floating_point() and dtype_of(held[name].dtype, what).is_floating_point):
            raise SecateurError(f"{what} has a tensor '{strict.short(name)}' of {held[name].dtype}; expected {wanted}")
    return made
