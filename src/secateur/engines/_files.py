"""Files that several engines read: each is written once."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.engines.base import Inputs
from secateur.files.exporters import write_unchecked


def write_once(network: nn.Module, path: Path, inputs: Inputs, to: str) -> Path:
    """Write a network in a format of ``secateur export``, unless another engine has; returns the path."""
    return path if path.exists() else write_unchecked(network, path, inputs, to)
