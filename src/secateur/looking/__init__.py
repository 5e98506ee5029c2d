"""Looking into files of pruned networks: what was cut where, and how two of them differ."""

from secateur.looking.compare import compare
from secateur.looking.layers import Layer, layers

__all__ = ["Layer", "compare", "layers"]
