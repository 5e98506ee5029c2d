"""Files of pruned networks inspected: what was cut where, and how two of them differ."""

from secateur.files.inspect.diff import compare
from secateur.files.inspect.layers import layers

__all__ = ["compare", "layers"]
