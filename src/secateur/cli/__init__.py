"""The command line, one file a command: parse, call one public function, print."""

from secateur.cli import bench, diff, export, info, list_, prune, report, study
from secateur.cli.app import app, in_order
from secateur.cli.main import main

__all__ = ["app", "bench", "diff", "export", "info", "list_", "main", "prune", "report", "study"]

in_order("study", "bench", "report", "prune", "export", "info", "diff", "list")
