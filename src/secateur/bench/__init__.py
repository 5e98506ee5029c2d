"""A pruned network beside the one that it was cut from, in every engine that is installed, on this machine."""

from secateur.bench.config import BenchConfig
from secateur.bench.network import Subject
from secateur.bench.run import bench

__all__ = ["BenchConfig", "Subject", "bench"]
