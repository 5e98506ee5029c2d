"""What each operator that a file may name is allowed to get, and what it gives: one file a family.

A rule registers itself with :func:`secateur.files.native.program.rules.base.rule`; the files of this folder are found
by scanning it. torch's operators do not check what they get: some of them read and write foreign memory. So a rule
checks types, enumerations, ranges and shapes itself, before the operator is called.
"""

import importlib
import pkgutil

from secateur.files.native.program.rules.base import RULES, SCRATCH, VALUE, WORK, Spec, values_in

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["RULES", "SCRATCH", "VALUE", "WORK", "Spec", "values_in"]
