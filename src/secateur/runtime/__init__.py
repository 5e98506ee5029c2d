"""Zeros become milliseconds: a pruned network in, a module with the same outputs and sparse kernels out."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from secateur.core.errors import SecateurError, UnsupportedError, unknown
from secateur.runtime.base import Compiled, check_model
from secateur.runtime.dense import warn_once

ENGINES = {"kernels": "network:KernelNetwork", "csr": "csr:CsrNetwork", "torch": "dense:DenseNetwork"}
"""Engines by name: file and class."""

OPTIONS: dict[str, tuple[tuple[type, ...], str]] = {
    "budget": ((int, float), "seconds, 0 or more"), "isa": ((str, type(None)), "the name of an instruction set"),
    "always": ((bool,), "True or False"), "storage": ((str,), "f32 or bf16")}
"""Options of ``kernels``: their types, and what is allowed in words."""

__all__ = ["ENGINES", "Compiled", "compile"]


def compile(model: nn.Module, example: Any, engine: str | None = None, **options: Any) -> Compiled:
    """A module with the same outputs that skips the network's zeros; inference only, on the CPU.

    Args:
        model: a float32 network on the CPU; it is copied and stays as it is.
        example: one input of the network, or a tuple of them. The batch (the first axis) may differ later.
        engine: ``kernels`` (the project's own), ``csr`` (torch CSR), ``torch`` (dense), or None for
            ``kernels`` where they can run and ``torch``, with a warning, where they cannot.
        options: for ``kernels``: ``budget`` (seconds for measuring, 2.0; 0 decides by a model), ``isa``
            (``avx512``, ``avx2``, ``neon``; by default the best), ``always`` (never torch where a kernel can),
            ``storage`` (``f32``, or ``bf16``: weights of eight significant bits in half the bytes; ``.error`` of
            the result says what that changed in the example's outputs).

    Raises:
        SecateurError: an unknown engine, a model or example that cannot be compiled.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = net[0].weight.data.masked_fill_(net[0].weight.abs() < 0.25, 0)
    >>> x = torch.ones(5, 4)
    >>> torch.allclose(compile(net, x, engine="csr")(x), net(x))
    True
    """
    name = "kernels" if engine is None else engine
    if name not in ENGINES:
        raise unknown("engine", str(name), ENGINES)
    _check_options(name, options)
    inputs = check_model(model, example)
    try:
        return _instantiate(name, model, inputs, options)
    except UnsupportedError as reason:
        if engine is not None:
            raise
        warn_once(str(reason))
        return _instantiate("torch", model, inputs, {})


def _check_options(engine: str, options: dict[str, Any]) -> None:
    """Refuse options that an engine does not have, and values that mean nothing.

    Raises:
        SecateurError: the message names the option and what is allowed.
    """
    for option, value in options.items():
        if engine != "kernels" or option not in OPTIONS:
            raise unknown(f"option of engine '{engine}'", option, OPTIONS if engine == "kernels" else ())
        kind, allowed = OPTIONS[option]
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            raise SecateurError(f"option {option}: got {value!r}, allowed: {allowed}")
    if not 0 <= options.get("budget", 0) < float("inf"):
        raise SecateurError(f"option budget: got {options['budget']!r}, allowed: {OPTIONS['budget'][1]}")


def _instantiate(name: str, model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Compiled:
    made = load(name)(model, inputs, **options)
    assert isinstance(made, Compiled)
    return made


def load(name: str) -> Any:
    """The class of an engine.

    Raises:
        UnsupportedError: it is made with llvmlite, which is not installed.
    """
    module, _, attribute = ENGINES[name].partition(":")
    try:
        return getattr(importlib.import_module(f"secateur.runtime.{module}"), attribute)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "llvmlite":
            raise
        raise UnsupportedError(f"engine '{name}': llvmlite is not installed; allowed here: csr, torch") from missing
