"""``secateur export``."""

from __future__ import annotations

from typing import Any

from secateur.cli.app import CUT
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.experiment.export_config import ExportConfig


@command("export", ExportConfig, panel=CUT, examples=(
    "secateur export small.safetensors --to onnx", "secateur export net.pt2 --trust --to openvino --out net.xml",
    "secateur export runs/mlp-mnist --sparsity 0.9 --granularity weight"))
def export(settings: dict[str, Any]) -> None:
    """Export a network to the format of another tool, and check the file with that tool's own runtime.

    A network of a run is made again from its trained weights and compared with the measured row.
    """
    start(f"export: {settings['source']} to {settings.get('to', ExportConfig.to)}",
          *(settings.get(name) for name in ("source", "factory", "weights")))
    from secateur.cli.console import tell_export
    from secateur.experiment.export_run import export_source

    tell_export(export_source(ExportConfig.make(settings)))
