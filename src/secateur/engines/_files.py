"""Files that several engines read: each is written once."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.core.pytree import repeat
from secateur.core.text import join_words
from secateur.engines.base import Inputs
from secateur.files.exporters import _int8, _int8_file, write_unchecked

DYNAMIC, STATIC = _int8.DYNAMIC, _int8.STATIC
_TRACED = 3
"""Samples that a network is traced with: a single one would fix the batch, and many take time and memory."""


def write_once(network: nn.Module, path: Path, inputs: Inputs, to: str) -> Path:
    """Write a network in a format of ``secateur export``, unless another engine has; returns the path."""
    return path if path.exists() else write_unchecked(network, path, repeat(inputs, _TRACED), to)


def quantize_once(network: nn.Module, folder: Path, inputs: Inputs, ranges: str) -> Path:
    """Write a network as ``int8-dynamic.onnx`` or ``int8-static.onnx``, unless another engine has; returns the path.

    Args:
        network: in evaluation mode, on the CPU.
        folder: for the files of this network.
        inputs: samples; ``static`` takes the ranges of the network's values from them.
        ranges: ``dynamic`` or ``static``.
    """
    path = folder / f"int8-{ranges}.onnx"
    if not path.exists():
        source = write_once(network, folder / "model.onnx", inputs, "onnx")
        if ranges == _int8.STATIC:
            _int8.quantize_static(source, path, inputs)
        else:
            _int8.quantize_dynamic(source, path)
    return path


def describe_int8(path: Path) -> str:
    """What of a file in int8 computes in floating-point numbers, and whether weights have seven bits, in few words.

    Empty where all layers have eight bits.
    """
    found = _int8_file.signature(path)
    narrow = ["weights of seven bits, as this processor has no VNNI"] if found and found[1] else []
    held = [f"{count} {kind}" for kind, count in _int8_file.kept_in_float(path).items()]
    return ", ".join([*narrow, *([f"{join_words(held)} not in int8"] if held else [])])
