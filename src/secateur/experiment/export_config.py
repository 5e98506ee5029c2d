"""Every setting of ``secateur export``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.core import names, registry
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.core.settings import NETWORK, REQUIRED, ROW, setting, settings_of
from secateur.experiment.checks import check_bits

if TYPE_CHECKING:
    from secateur.files.exporters.base import Int8


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
    int8: bool = setting(False, "for onnx: int8 arithmetic, by ONNX Runtime's quantisation; networks of convolutions "
                         "need --example with 16 real samples or more")
    narrow: bool = setting(False, "with --int8: weights of seven bits, for x86 processors without VNNI")
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
    def int8_form(self) -> Int8:
        """How :func:`secateur.files.exporters.export` takes ``int8``.

        Raises:
            SecateurError: ``narrow`` without ``int8``.
        """
        if self.narrow and not self.int8:
            raise SecateurError("--narrow without --int8: allowed with --int8 only")
        return "narrow" if self.narrow else self.int8

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source).expanduser()

    @property
    def cut(self) -> dict[str, Any]:
        """Which network of a run, as far as that is said."""
        return {one.name: getattr(self, one.name) for one in settings_of(type(self)) if one.group == ROW}
