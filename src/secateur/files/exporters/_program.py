"""A network and its example as a program of ``torch.export``, with the batch, and lengths, left open."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from secateur import graph
from secateur.core.errors import SecateurError, UnsupportedError
from secateur.core.module_state import evaluating, untouched
from secateur.core.pytree import repeat, without_classes
from secateur.core.tensors import tensors_in
from secateur.files.native.program import FileNetwork
from secateur.graph import capture
from secateur.graph.check import check_module
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.graph.example import changes_by_call, check_example
from secateur.graph.proof.float64 import eager_outputs
from secateur.quantization import operators
from secateur.quantization.layers.base import Int8Layer
from secateur.runtime.base import CHANGES, Compiled

WIDE = 3
"""Rows of an example of one: torch takes a size of 1 for one that never changes."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under export: a copy in evaluation mode on the CPU, with its example.

    ``args`` and ``kwargs`` are empty where no example was given; ``reach`` says what of the inputs' sizes stays open:
    ``length`` and batch, ``batch``, or nothing.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    original: str
    reach: str = ""

    @cached_property
    def traced(self) -> Traced:
        """The network's program, traced when first asked for."""
        return trace_program(self)

    @cached_property
    def in_double(self) -> nn.Module:
        """A copy of the network whose numbers are float64."""
        with capture.quiet():
            return copy.deepcopy(self.model).double()

    @cached_property
    def quantised(self) -> bool:
        """Whether layers compute in eight bits: such a network is its own truth."""
        return any(isinstance(one, Int8Layer) or (isinstance(one, FileNetwork) and any(
            call.function in operators.OPERATORS for call in one.program.calls)) for one in self.model.modules())

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors of the example."""
        return tensors_in((self.args, self.kwargs))

    def given(self, inputs: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword inputs like the example's with other tensors."""
        leaves, spec = pytree.tree_flatten((self.args, self.kwargs))
        values = iter(inputs)
        args, kwargs = pytree.tree_unflatten([next(values) if isinstance(v, Tensor) else v for v in leaves], spec)
        return args, kwargs

    def outputs(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What the network gives in its own type."""
        args, kwargs = self.given([x.clone() for x in inputs])
        with evaluating(self.model), torch.no_grad():
            return tensors_in(self.model(*args, **kwargs))

    def truth(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What the network gives in float64."""
        return eager_outputs(self.in_double, *self.given(inputs))


@dataclass(frozen=True, eq=False)
class Traced:
    """A program with the names and sizes of its input tensors: numbers, or torch's names where they are open.

    ``example`` holds the tensors that it was traced with.
    """

    program: ExportedProgram
    names: tuple[str, ...]
    sizes: tuple[tuple[int | str, ...], ...]
    example: list[Tensor]

    @cached_property
    def symbols(self) -> dict[str, str]:
        """Torch's names of the open sizes, and what they are called in a file: batch, length; alike where the example
        has the same size there.
        """
        shown = [(axis, symbol, own) for x, sizes in zip(self.example, self.sizes, strict=True)
                 for axis, (symbol, own) in enumerate(zip(sizes, x.shape, strict=True)) if isinstance(symbol, str)]
        rows = [own for axis, _, own in shown[:1] if axis == 0]
        batch = {symbol for axis, symbol, own in shown if axis == 0 and own in rows}
        lengths = {symbol: own for _, symbol, own in shown if symbol not in batch}
        found = list(dict.fromkeys(lengths.values()))
        named = {s: "length" if len(found) == 1 else f"length_{found.index(n) + 1}" for s, n in lengths.items()}
        return named | dict.fromkeys(batch, "batch")

    @property
    def open(self) -> bool:
        """Whether the first axis of the first input is open."""
        return bool(self.sizes and self.sizes[0]) and self.symbols.get(str(self.sizes[0][0])) == "batch"

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called: by the keys of a dict, else ``output``, or numbered."""
        spec = self.program.call_spec.out_spec
        keys = list(spec.context) if spec is not None and spec.type is dict else []
        named = keys if all(isinstance(k, str) for k in keys) else []
        count = sum(s.kind.name == "USER_OUTPUT" for s in self.program.graph_signature.output_specs)
        if len(named) == count:
            return [f"{n}_out" if n in self.names else n for n in named]
        return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]

    def describe_inputs(self) -> str:
        """The inputs with their sizes, in words."""
        return ", ".join(f"{name} [{', '.join(str(self.symbols.get(str(s), s)) for s in sizes)}]"
                         for name, sizes in zip(self.names, self.sizes, strict=True))


def subject(model: nn.Module, example: Any = None) -> Subject:
    """A copy of a network to export, which the caller's is left alone for.

    Raises:
        SecateurError: it is no network, a compiled one, one that is between two states, or the example does not run.
    """
    if isinstance(model, nn.Module) and any(isinstance(part, Compiled) for part in model.modules()):
        raise SecateurError("export: got a compiled network; export the network that it was compiled from")
    check_module("export", model)
    graph.check_whole(model)
    if example is not None:
        check_example(model, example)
    with untouched(model), capture.quiet():
        made = copy.deepcopy(model).eval().requires_grad_(False).cpu()
    args, kwargs = ((), {}) if example is None else pytree.tree_map(
        lambda v: v.detach().cpu().clone() if isinstance(v, Tensor) else v, graph.inputs(example))
    original = model.original if isinstance(model, ExportedNetwork) else type(model).__name__
    return Subject(made, args, kwargs, original)


def trace_program(subject: Subject) -> Traced:
    """Trace a network with its sizes open as far as asked.

    Raises:
        UnsupportedError: torch.export refuses it, or its code fixes the batch.
    """
    inputs = [repeat(x, WIDE) if subject.reach and x.ndim and len(x) == 1 else x for x in subject.inputs]
    args, kwargs = subject.given([x.clone() for x in inputs])
    if changes_by_call(subject.model, *subject.given([x.clone() for x in inputs])):
        raise UnsupportedError(CHANGES)
    with traceable(subject.model, kwargs), torch.no_grad():
        program = capture.export(subject.model, args, kwargs, subject.reach, subject.original)
    shown = [n for n in capture.input_nodes(program) if isinstance(n.meta.get("val"), Tensor)]
    sizes = tuple(capture.sizes_of(n.meta["val"]) for n in shown)
    found = Traced(program, tuple(n.name for n in shown), sizes, inputs)
    if subject.reach and not found.open:
        raise UnsupportedError(f"the network's code fixes the first axis of its first input at {len(inputs[0])}")
    return found


@contextmanager
def traceable(model: nn.Module, kwargs: dict[str, Any]) -> Iterator[None]:
    """While it is traced, have a network give tuples, lists and dicts in place of classes that a reader of the file
    would have to know, and name the inputs that it takes as ``**kwargs``, whose sizes torch leaves open only so.
    """
    forward, own = model.forward, vars(model).get("forward")

    @functools.wraps(forward)
    def plainly(*args: Any, **kwargs: Any) -> Any:
        return without_classes(forward(*args, **kwargs))

    plainly.__signature__ = _named_signature(forward, kwargs)  # type: ignore[attr-defined]
    model.forward = plainly
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


def _named_signature(forward: Callable[..., Any], kwargs: dict[str, Any]) -> inspect.Signature:
    """A signature with the given names in place of ``**kwargs``.

    >>> str(_named_signature(lambda x, **more: x, {"x": 1, "mask": 2}))
    '(x, *, mask)'
    """
    known = list(inspect.signature(forward).parameters.values())
    if not any(p.kind is p.VAR_KEYWORD for p in known):
        return inspect.Signature(known)
    names = {p.name for p in known}
    more = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY) for k in kwargs if k not in names]
    return inspect.Signature([*(p for p in known if p.kind is not p.VAR_KEYWORD), *more])
