"""Gathers signals: only those that are declared, layer by layer, in bounded memory."""

from secateur.pruning.signals.collect import SignalCollector

__all__ = ["SignalCollector"]
