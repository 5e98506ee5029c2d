"""What each ATen operator ties: one short function a family, the operators it serves named as data."""

from secateur.graph.rules import algebra, indexing, layers, shapes

__all__ = ["algebra", "indexing", "layers", "shapes"]
