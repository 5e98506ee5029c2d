"""How networks are timed: batch sizes, threads, seconds, engines."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.core import registry
from secateur.core.settings import TIMING, Settings, setting


@dataclass(frozen=True, kw_only=True)
class BenchConfig(Settings):
    """How networks are timed in :func:`bench`.

    Raises:
        SecateurError: a value that cannot be; the message says what is allowed.
    """

    batches: tuple[int, ...] = setting((1, 16, 64), "batch sizes to time", shown="batch", group=TIMING, least=1,
                                       some=True)
    threads: tuple[int, ...] = setting((1,), "number of threads of every engine", group=TIMING, least=1, some=True)
    seconds: float = setting(2.0, "seconds spent on each engine at each batch size", group=TIMING, above=0)
    engines: tuple[str, ...] = setting((), "engines to time: torch, sparse, onnxruntime, onnxruntime-int8, openvino, "
                                       "openvino-default, openvino-int8, torch-bf16 (default: all that are installed)",
                                       group=TIMING,
                                       shown="engine", repeats=True, room="engines")

    @property
    def ordered_engines(self) -> tuple[str, ...]:
        """The engines in the order of tables: torch first, then ours, then others."""
        first = [name for name in ("torch", "sparse") if name in registry.files("engines")]
        every = [*first, *(n for n in registry.files("engines") if n not in first)]
        return tuple(n for n in every if not self.engines or n in self.engines)
