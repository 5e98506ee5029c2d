"""The graph of a network in its file: written from a trace, read with suspicion, run without making code."""

from secateur.files.program.make import made
from secateur.files.program.network import FileNetwork
from secateur.files.program.read import Program, read

__all__ = ["FileNetwork", "Program", "made", "read"]
