"""Gathers signals: only those that are declared, layer by layer, in bounded memory."""

from secateur.gather.gatherer import Gatherer

__all__ = ["Gatherer"]
