"""What each ATen operator ties: one file a family, one short function a rule, its operators named as data.

A rule registers itself with :func:`secateur.graph.rules.base.rule`; the files of this folder are found by scanning it.
"""

import importlib
import pkgutil

from secateur.graph.rules.base import RULES

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["RULES"]
