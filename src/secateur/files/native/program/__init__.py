"""The graph of a network in its file: written from a trace, read with suspicion, run without making code."""

from secateur.files.native.program.network import FileNetwork
from secateur.files.native.program.read import Program, read
from secateur.files.native.program.trace import make_graph

__all__ = ["FileNetwork", "Program", "make_graph", "read"]
