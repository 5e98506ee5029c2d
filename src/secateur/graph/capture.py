"""From a module and example inputs to one flat ATen graph, through ``torch.export``."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating
from secateur.graph.example import check_runs, check_values, inputs

WRAPPERS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}


@dataclass(frozen=True, eq=False)
class Captured:
    """One network as a flat graph.

    ``graph`` is a module of ATen operators; ``sources`` gives for each placeholder ``("parameter",
    name)``, ``("buffer", name)``, ``("constant", tensor)`` or ``("input", position)``; ``leaves`` holds the
    example's leaves by position. ``guards`` are the conditions on open sizes, as Python over ``L``, the inputs by name;
    none where torch does not tell them.
    """

    graph: fx.GraphModule
    sources: dict[str, tuple[str, Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    leaves: dict[int, Any]
    out_spec: Any
    guards: tuple[str, ...] | None = None


def capture(model: nn.Module, example: Any, reach: str = "") -> Captured:
    """Export a network in evaluation mode.

    ``reach`` leaves axes of the inputs open where the network allows it, for an example that has run: their first
    (``"batch"``) or also their lengths (``"length"``).

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: ``torch.export`` refuses the network; the message carries its reason.
    """
    check_values(example)
    args, kwargs = pytree.tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, inputs(example))
    with evaluating(model):
        if not reach:
            check_runs(model, args, kwargs)
        return export(model, args, kwargs, reach)


def export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], reach: str = "") -> Captured:
    """Export a network as it is.

    Raises:
        UnsupportedError: ``torch.export`` refuses it; the message says why, where, and what may help.
    """
    try:
        with quiet(), torch.enable_grad():
            open_axes = axes_left_open(model, args, kwargs, reach == "length") if reach else None
            program = torch.export.export(model, args, kwargs, dynamic_shapes=open_axes, strict=False)
    except Exception as error:
        raise UnsupportedError(f"torch.export cannot take {type(model).__name__}: {refusal(error)}{line_of(error)}; "
                               "try other example inputs") from error
    graph = flat(program.graph_module)
    first = sum(s.kind.name != "USER_INPUT" for s in program.graph_signature.input_specs)
    given = dict(enumerate(pytree.tree_leaves((args, kwargs)), first))
    guards = getattr(program, "_guards_code", None)
    return Captured(graph, sources(program), args, kwargs, given, program.call_spec.out_spec,
                    None if guards is None else tuple(guards))


def axes_left_open(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], length: bool) -> dict[str, Any]:
    """What ``torch.export`` is told so that the first axis of every input stays open, and lengths where asked."""
    bound = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    words = any(isinstance(v, Tensor) and not v.is_floating_point() for v in pytree.tree_leaves(bound))

    def axes(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        return dict.fromkeys(range(open_axes(value, words) if length else min(1, value.ndim)), torch.export.Dim.AUTO)

    return dict(pytree.tree_map(axes, dict(bound)))


def open_axes(value: Tensor, words: bool) -> int:
    """How many leading axes of an input are a batch and lengths: all of numbers, masks beside them, two of three of
    values.
    """
    if not value.is_floating_point() or (words and value.ndim == 4 and value.shape[1] == 1):
        return value.ndim
    return min(value.ndim, 2 if value.ndim == 3 else 1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's warnings and log lines from the user's terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


DATA = ("GuardOnDataDependentSymNode", "UserError", "DataDependentOutputException", "UnsupportedOperatorException")


def refusal(error: BaseException) -> str:
    """Why ``torch.export`` refuses a network, in plain words where the reason is known."""
    kind, text = type(error).__name__, str(error)
    if kind in DATA and ("data-dependent" in text or "Dynamic control flow" in text or "aten._local_scalar" in text):
        return "its code takes a path or makes a shape that depends on the values of the data"
    if "FakeTensor" in text or "FakeTensor" in kind:
        return ("its code takes a size from the values of a tensor, as packed sequences do (give them padded, or the "
                "lengths as numbers)")
    return readable(error)


def line_of(error: BaseException) -> str:
    """The innermost line outside of torch that an error came from, as a clause."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("/torch/", "/secateur/graph/", "/secateur/files/exporters/")
    own = [f for f in frames if not any(place in f.filename for place in ours)]
    return f" at {own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].lineno}" if own else ""


def sources(program: torch.export.ExportedProgram) -> dict[str, tuple[str, Any]]:
    """What each placeholder of an exported program stands for."""
    found: dict[str, tuple[str, Any]] = {}
    for position, spec in enumerate(program.graph_signature.input_specs):
        kind = spec.kind.name.lower()
        if kind in ("parameter", "buffer"):
            found[spec.arg.name] = kind, spec.target
        elif kind == "user_input":
            found[spec.arg.name] = "input", position
        else:
            found[spec.arg.name] = "constant", program.constants.get(spec.target)
    return found


def flat(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of the graph with the bodies of grad-mode and autocast regions in line."""
    graph = fx.Graph()
    outputs = inline(module, graph, {}, None)
    graph.output(outputs)
    for node in [n for n in graph.nodes if n.op == "get_attr" and not n.users]:
        graph.erase_node(node)
    return fx.GraphModule(module, graph)


def inline(module: fx.GraphModule, graph: fx.Graph, values: dict[fx.Node, Any], given: list[Any] | None) -> Any:
    """Copy one graph's nodes into another; gives what it returns."""
    arguments = iter(given or [])
    for node in module.graph.nodes:
        if node.op == "output":
            return fx.map_arg(node.args[0], lambda n: values[n])
        if node.op == "placeholder" and given is not None:
            values[node] = next(arguments)
        elif skip := WRAPPERS.get(getattr(node.target, "__name__", "")):
            body = getattr(module, str(node.args[skip].target))
            passed = fx.map_arg(list(node.args[skip + 1:]), lambda n: values[n])
            values[node] = inline(body, graph, {}, list(passed))
        elif node.target is not None and getattr(node.target, "__name__", "") == "getitem" and not isinstance(
                values[node.args[0]], fx.Node):
            values[node] = values[node.args[0]][node.args[1]]
        else:
            values[node] = graph.node_copy(node, lambda n: values[n])
    raise AssertionError("a graph without an output")
