"""Example inputs for a network of transformers, drawn at random where nothing else is known of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from secateur.data.input_spec import InputSpec, TensorSpec

_TOKENS = 8


def find_inputs(network: nn.Module) -> tuple[dict[str, Tensor] | None, str]:
    """Inputs that a network runs on, by name, and what was drawn; None and nothing where none were found.

    Tried are two sentences of random tokens below ``vocab_size``, two random images or stretches of sound, as the
    network names its main input, then the ``dummy_inputs`` that its class has.
    """
    for inputs, told in (_by_main_input(network), _dummy(network)):
        if inputs and runs(network, inputs):
            return inputs, told
    return None, ""


def _by_main_input(network: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Random values for the main input, and for the decoder's where there is one."""
    config = network.config
    name, vocabulary = getattr(network, "main_input_name", ""), getattr(config, "vocab_size", None)
    if name == "input_ids" and isinstance(vocabulary, int):
        shape = (2, min(_TOKENS, getattr(config, "max_position_embeddings", None) or _TOKENS))
        names = [name, *(["decoder_input_ids"] if getattr(config, "is_encoder_decoder", False) else [])]
        tokens = TensorSpec(shape, torch.long, (0, vocabulary - 1))
        found = InputSpec(dict.fromkeys(names, tokens)).random()
        return found, f"{' and '.join(names)}, 2 x {shape[1]} tokens below {vocabulary}"
    if name == "pixel_values" and (size := getattr(config, "image_size", None)):
        sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        shape = (2, getattr(config, "num_channels", 3), *sides)
        return InputSpec({name: TensorSpec(shape)}).random(), f"{name}, {' x '.join(map(str, shape))}"
    return {}, ""


def _dummy(network: nn.Module) -> tuple[dict[str, Tensor], str]:
    """What the class itself takes to be inputs."""
    found: Any = getattr(network, "dummy_inputs", None) or {}
    return dict(found), f"the dummy_inputs of {type(network).__name__}"


def runs(network: nn.Module, inputs: dict[str, Tensor]) -> bool:
    """Whether a network takes inputs."""
    try:
        with torch.no_grad():
            network(**inputs)
    except Exception:
        return False
    return True
