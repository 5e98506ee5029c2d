"""Every setting of ``secateur export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.core.network_options import Options
from secateur.core.settings import NETWORK, REQUIRED, ROW, setting, settings_of


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """What is exported, and where to; of a run the last settings say which network."""

    source: str = setting(REQUIRED, "the folder of a study, a file of secateur prune or sc.save, or any network that "
                          "prune takes", argument="RUN|FILE|MODEL")
    to: str = setting("onnx", "onnx, pt2, openvino, safetensors, or report of a run")
    out: str = setting("", "the file; empty: the name of the source, here")
    force: bool = setting(False, "replace the file where it is there")
    int8: bool = setting(False, "for onnx: weights in eight bits, by ONNX Runtime")
    model: str = setting("", "pkg.module:factory or built-in name that makes the network before the first cut; a run's "
                         "factory is imported only if it is named here", group=NETWORK, shown="factory")
    sparsity: float | None = setting(None, "which cut, 0 for the uncut network", group=ROW)
    granularity: str | None = setting(None, "which cut", group=ROW)
    criterion: str | None = setting(None, "which cut", group=ROW)
    scope: str | None = setting(None, "which cut", group=ROW)
    recovery: str | None = setting(None, "which cut", group=ROW)
    seed: int = setting(0, "which network", group=ROW)

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source).expanduser()

    @property
    def cut(self) -> dict[str, Any]:
        """Which network of a run, as far as that is said."""
        return {one.name: getattr(self, one.name) for one in settings_of(type(self)) if one.group == ROW}
