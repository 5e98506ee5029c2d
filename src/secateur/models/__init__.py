"""A text names a network: built in, out of a factory, a file, a folder. One file a kind, see ``loaders/base.py``."""

from secateur.models.builtin.base import Network
from secateur.models.factory import build, check_fits, example_of, load_weights, make_network
from secateur.models.resolve import network

__all__ = ["Network", "build", "check_fits", "example_of", "load_weights", "make_network", "network"]
