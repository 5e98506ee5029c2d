"""A pruned network beside the one that it was cut from, in every engine that is installed, on this machine."""

import importlib as _importlib
import typing as _typing

from secateur.bench.config import BenchConfig

if _typing.TYPE_CHECKING:
    from secateur.bench.network import Subject
    from secateur.bench.run import bench
else:
    _PLACES = {"Subject": "network", "bench": "run"}

    def __getattr__(name: str) -> _typing.Any:
        """What needs torch is imported when it is first asked for: the settings alone make the command's help."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)

__all__ = ["BenchConfig", "Subject", "bench"]
