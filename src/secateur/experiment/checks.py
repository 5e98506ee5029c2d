"""Checks of single settings. Each imports what it asks when it is called: a command's help is there without torch."""

from __future__ import annotations

import json
import re
from typing import Any

from secateur.core import registry
from secateur.core.choices import BITS
from secateur.core.errors import SecateurError
from secateur.core.text import bits_name, join_words


def check_name_of_granularity(name: str) -> None:
    """Refuse what is neither a size, nor an import path, nor a name; nothing slow is imported.

    >>> check_name_of_granularity("8x2"), check_name_of_granularity("neuron")
    (None, None)
    """
    if ":" not in name and not re.fullmatch(r"\d+x\d+", name):
        registry.check_name("granularity", name)


def check_granularity(name: str) -> None:
    """Refuse what names no granularity."""
    from secateur.pruning.granularity import resolve

    resolve(name)


def check_name_of_device(device: str) -> None:
    """Refuse what is no name of a device."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise SecateurError(f"device '{device}': allowed are cpu, cuda, cuda:N")


def check_device(device: str) -> None:
    """Refuse a device that torch does not have here."""
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            raise SecateurError(f"device '{device}': torch sees no GPU on this machine; allowed: cpu")


def check_bits(bits: int) -> None:
    """Refuse a number of bits in which no network computes."""
    if bits not in BITS:
        raise SecateurError(f"bits {bits}: allowed are {join_words([f'{b} ({bits_name(b)})' for b in BITS], 'or')}")


def check_network(text: str) -> None:
    """Refuse what names no network."""
    from secateur.models import resolve

    resolve.kind_of(text).check(text)


def read_layers(text: str) -> dict[str, Any]:
    """The settings of single layers from their JSON.

    Raises:
        SecateurError: it is not valid JSON.
    """
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError) as error:
        raise SecateurError(f"layers {text!r} is not JSON: allowed is such as "
                            '{"fc1": 0.5, "conv.*": {"granularity": "4x1"}}') from error


def check_layers(text: str) -> None:
    """Refuse settings of single layers that are not allowed, whatever the network."""
    from secateur.pruning.layer_rules import read_rule

    for pattern, settings in read_layers(text).items():
        read_rule(pattern, settings)
