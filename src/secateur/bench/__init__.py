"""A pruned network beside the one that it was cut from, in every engine that is installed, on this machine."""

from secateur.bench.measure import Settings, bench
from secateur.bench.subject import Subject

__all__ = ["Settings", "Subject", "bench"]
