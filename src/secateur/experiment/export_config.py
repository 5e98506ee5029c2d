"""Every setting of ``secateur export``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from secateur.core import names, registry
from secateur.core.network_options import Options
from secateur.core.settings import NETWORK, REQUIRED, ROW, setting, settings_of
from secateur.experiment.checks import check_bits


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """What is exported, and where to; of a run the last settings say which network."""

    source: str = setting(REQUIRED, "the folder of a study, a file written by secateur prune or sc.save, or any model "
                          "that prune accepts", argument="RUN|FILE|MODEL",
                          form=partial(names.check_network, also=f"the folder of a study; {names.OURS}"))
    to: str = setting("onnx", "format: onnx, pt2, openvino or safetensors; for a run also report",
                      form=partial(registry.check_name, "exporters"))
    out: str = setting("", "output file (default: the source's name, in the current folder)")
    force: bool = setting(False, "replace an existing file")
    int8: bool = setting(False, "for onnx: quantise the weights to eight bits with ONNX Runtime")
    model: str = setting("", "pkg.module:factory or built-in name that builds the original network; a run's factory is "
                         "imported only if it is named here", group=NETWORK, shown="factory")
    sparsity: float | None = setting(None, "sparsity of the network in the run, 0 for the uncut one", group=ROW)
    granularity: str | None = setting(None, "granularity of that network", group=ROW)
    criterion: str | None = setting(None, "criterion of that network", group=ROW)
    scope: str | None = setting(None, "scope of that network", group=ROW)
    recovery: str | None = setting(None, "recovery of that network", group=ROW)
    bits: int = setting(32, "in how many bits that network computes", group=ROW, form=check_bits)
    seed: int = setting(0, "seed of that network", group=ROW)

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source).expanduser()

    @property
    def cut(self) -> dict[str, Any]:
        """Which network of a run, as far as that is said."""
        return {one.name: getattr(self, one.name) for one in settings_of(type(self)) if one.group == ROW}
