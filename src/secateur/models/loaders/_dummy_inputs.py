"""Example inputs for a network of transformers, drawn at random where nothing else is known of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from secateur.data.input_spec import InputSpec, TensorSpec

_TOKENS = 8


def find_inputs(network: nn.Module) -> tuple[dict[str, Tensor] | None, str]:
    """Inputs by name that a network runs on, and what they are in words; ``(None, "")`` where none were found.

    The first are two sentences of random tokens below ``vocab_size`` or two random images, as the network names its
    main input; the second are the ``dummy_inputs`` that its class has.
    """
    for inputs, words in (_by_main_input(network), _own_dummy_inputs(network)):
        if inputs and _runs_on(network, inputs):
            return inputs, words
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


def _own_dummy_inputs(network: nn.Module) -> tuple[dict[str, Tensor], str]:
    """The inputs that the network's class gives for a trial run."""
    found: Any = getattr(network, "dummy_inputs", None) or {}
    return dict(found), f"the dummy_inputs of {type(network).__name__}"


def _runs_on(network: nn.Module, inputs: dict[str, Tensor]) -> bool:
    """Whether a network can be called with these inputs."""
    try:
        with torch.no_grad():
            network(**inputs)
    except Exception:
        return False
    return True
