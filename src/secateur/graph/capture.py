"""From a module and example inputs to one flat ATen graph, through ``torch.export``."""

from __future__ import annotations

import contextlib
import copy
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

from secateur.errors import SecateurError, UnsupportedError
from secateur.graph.state import evaluating, untouched

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


def inputs(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword inputs that an example stands for: one input, a tuple of them, or a dict.

    Of a list of examples, the first one's.

    >>> inputs(torch.zeros(2))[0][0].shape
    torch.Size([2])
    """
    if isinstance(example, list):
        return inputs(examples(example)[0])
    if isinstance(example, dict):
        return (), dict(example)
    return (example, {}) if isinstance(example, tuple) else ((example,), {})


def examples(example: Any) -> list[Any]:
    """The examples that a list holds, or the only one.

    Raises:
        SecateurError: the list is empty.
    """
    if isinstance(example, list) and not example:
        raise SecateurError("the list of examples is empty: give one input, a tuple of inputs, a dict of keyword "
                            "inputs, or a list of such examples")
    return example if isinstance(example, list) else [example]


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


def has_words(example: Any) -> bool:
    """Whether an example has whole numbers in rows, such as tokens, which may be of any length."""
    return any(isinstance(v, Tensor) and v.ndim > 1 and not v.is_floating_point() for v in pytree.tree_leaves(example))


def doubled(example: Any) -> Any:
    """An example of twice the batch: every tensor after itself."""
    return pytree.tree_map(lambda v: torch.cat([v, v]) if isinstance(v, Tensor) and v.ndim else v, example)


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


def check_values(example: Any) -> None:
    """Refuse an example that proves nothing.

    Raises:
        SecateurError: it is empty, or holds NaN or infinite values.
    """
    for value in pytree.tree_leaves(inputs(example)):
        if isinstance(value, Tensor) and not value.is_meta:
            if not value.numel():
                raise SecateurError(f"the example holds an empty tensor, {describe(value)}: it would prove nothing")
            if value.is_floating_point() and value.isnan().any():
                raise SecateurError(f"the example holds NaN in {describe(value)}: it would prove nothing")


def check_example(model: nn.Module, example: Any) -> None:
    """Refuse an example that holds nothing to run a network on, or does not run on it.

    Raises:
        SecateurError: it is missing, empty, of NaN, or of another shape, device or type.
    """
    if example is None:
        raise SecateurError("the example is None: give one input, a tuple of inputs, or a dict of keyword inputs")
    check_values(example)
    for one in examples(example):
        check_runs(model, *inputs(one))


def check_runs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run the example once, so that a mistake in it is told in the model's own words."""
    try:
        with untouched(model), torch.no_grad():
            before = [name for name, _ in model.named_parameters()]
            model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
            made = [name for name, _ in model.named_parameters() if name not in before]
    except Exception as error:
        given = ", ".join(describe(a) for a in [*args, *kwargs.values()])
        raise SecateurError(f"the example does not run on {type(model).__name__}: {readable(error)}; "
                            f"got {given or 'no inputs'}{mismatch(model, [*args, *kwargs.values()])}") from error
    if made:
        raise SecateurError(f"{type(model).__name__} makes its parameter '{made[0]}' when it first runs: run it once, "
                            "then there is something to cut")


def describe(value: Any) -> str:
    """A short word for one input."""
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def mismatch(model: nn.Module, given: list[Any]) -> str:
    """What differs between the network's device or dtype and the example's, as a clause."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    tensor = next((a for a in given if isinstance(a, Tensor) and a.is_floating_point()), None)
    if weight is None or tensor is None or (weight.device, weight.dtype) == (tensor.device, tensor.dtype):
        return ""
    return f"; the network holds {weight.dtype} on {weight.device}, the example {tensor.dtype} on {tensor.device}"


def readable(error: BaseException) -> str:
    """The first telling line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


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
    ours = ("/torch/", "/secateur/graph/", "/secateur/export/")
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
