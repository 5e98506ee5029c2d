"""Networks of the built-in studies. One file each, see ``base.py`` for the contract."""

from secateur.models._own import check_fits, example_of, load_weights, made, resolve
from secateur.models.base import Network

__all__ = ["Network", "check_fits", "example_of", "load_weights", "made", "resolve"]
