"""A text names a network: built in, out of a factory, a file, a folder. One file a kind, see ``loaders/base.py``."""

from secateur.models.builtin.base import Network
from secateur.models.factory import build, check_fits, example_of, load_weights, make_network
from secateur.models.loaders.base import Kind, Options, Source
from secateur.models.resolve import (
           by_place,
           check_read,
           cut_file,
           example_for,
           file_named,
           find,
           kind_of,
           kinds,
           network,
           why_not,
           why_unreadable,
)

__all__ = [
           "Kind",
           "Network",
           "Options",
           "Source",
           "build",
           "by_place",
           "check_fits",
           "check_read",
           "cut_file",
           "example_for",
           "example_of",
           "file_named",
           "find",
           "kind_of",
           "kinds",
           "load_weights",
           "make_network",
           "network",
           "why_not",
           "why_unreadable",
]
