"""Scopes: which items compete with which. One file each, see ``base.py`` for the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from secateur.core import registry
from secateur.pruning.scopes.base import Scope

ScopeName = Literal["layer", "global", "erk", "lamp", "owl", "sensitivity", "budget"]
ScopeChoice = ScopeName | str | Scope
"""A name, ``pkg.module:Class``, or an item with its settings."""


def resolve_scope(choice: ScopeChoice, **settings: Any) -> Scope:
    """The scope behind a name, ``pkg.module:Class`` or a class, or an item itself, with other settings where some are
    given.

    Raises:
        SecateurError: an unknown name, settings that it does not take.

    >>> resolve_scope("global", max_sparsity=0.95)
    Global(min_sparsity=0.0, max_sparsity=0.95)
    """
    scope = registry.item("scopes", choice)
    return replace(scope, **settings) if settings else scope
