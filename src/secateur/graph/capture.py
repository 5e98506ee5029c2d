"""From a module and example inputs to a program of ``torch.export``, and from that to one flat ATen graph."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import operator
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating, without_cache
from secateur.core.modules import check_names
from secateur.core.tensors import tensors_in
from secateur.graph.example import check_runs, check_values, inputs
from secateur.graph.open_len import with_open_len

_Found = TypeVar("_Found")

_WRAPPERS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Operators whose body is a graph of its own, with the place of that body among their arguments."""
_DATA_DEPENDENT = ("GuardOnDataDependentSymNode", "UserError", "DataDependentOutputException",
                   "UnsupportedOperatorException")


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """One network as a flat graph.

    ``module`` is a module of ATen operators; ``sources`` gives for each placeholder ``("parameter",
    name)``, ``("buffer", name)``, ``("constant", tensor)`` or ``("input", position)``, a position among
    the ``leaves`` of the example. ``guards`` are the conditions on open sizes, as Python over ``L``, the inputs by
    name; none where torch does not tell them. The program itself is left out: it would keep the network's tensors.
    """

    module: fx.GraphModule
    sources: dict[str, tuple[str, Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out_spec: Any
    guards: tuple[str, ...] | None = None

    @classmethod
    def of(cls, program: ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FlatGraph:
        """The graph of a program that was exported with these inputs."""
        guards = getattr(program, "_guards_code", None)
        return cls(_flatten(program.graph_module), _sources(program), args, kwargs, program.call_spec.out_spec,
                   None if guards is None else tuple(guards))

    @property
    def nodes(self) -> Iterable[fx.Node]:
        """The nodes of the graph in order."""
        return self.module.graph.nodes

    def stored_name(self, node: fx.Node) -> str:
        """The name of the parameter or buffer that a node is; "" for any other node."""
        kind, what = self.sources[str(node.target)] if node.op == "placeholder" else ("", "")
        return str(what) if kind in ("parameter", "buffer") else ""

    @property
    def leaves(self) -> list[Any]:
        """The example's inputs, one by one."""
        return pytree.tree_leaves((self.args, self.kwargs))

    @property
    def inputs(self) -> list[fx.Node]:
        """The placeholders of the inputs, one for each leaf."""
        return [n for n in self.nodes if n.op == "placeholder" and self.sources[str(n.target)][0] == "input"]


def capture(model: nn.Module, example: Any, reach: str = "") -> FlatGraph:
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
        return capture_as_it_is(model, args, kwargs, reach)


def capture_as_it_is(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], reach: str = "") -> FlatGraph:
    """Export a network in the mode that it is in.

    Raises:
        UnsupportedError: ``torch.export`` refuses it; the message says why, where, and what may help.
    """
    # Gradients are on, since layers of attention take a fused path without them, of which no rule knows the axes.
    with torch.enable_grad():
        return FlatGraph.of(export(model, args, kwargs, reach, hint="; try other example inputs"), args, kwargs)


def export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], reach: str = "", name: str = "",
           hint: str = "") -> ExportedProgram:
    """The program of a network as it is, with sizes open as far as ``reach`` says.

    ``name`` is what an error calls the network, by default its class; ``hint`` ends the error.

    Raises:
        UnsupportedError: ``torch.export`` refuses the network; the message says why and where.
        SecateurError: a name in it would be more than a name in the code that torch makes of the graph.
    """
    check_names(model)
    try:
        with quiet(), without_cache(model):
            shapes = _open_shapes(model, args, kwargs, reach) if reach else None
            return with_open_len(
                lambda: torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False),
                lambda program: bool(reach) and _has_fixed_rows(program))
    except Exception as error:
        raise UnsupportedError(f"torch.export cannot trace {name or type(model).__name__}: "
                               f"{_reason(error)}{_line_of(error)}{hint}") from error


def reaches(example: Any) -> list[str]:
    """How far the sizes of inputs may stay open, in the order to try: lengths and batch, the batch, nothing.

    >>> reaches(torch.rand(2, 4)), reaches(torch.zeros(2, 4, dtype=torch.long)), reaches(3)
    (['batch', ''], ['length', 'batch', ''], [''])
    """
    tensors = tensors_in(example)
    words = _has_numbers(tensors)
    lengths = ["length"] if any(_open_axes(x, words) > 1 for x in tensors) else []
    return [*lengths, "batch", ""] if tensors else [""]


def widest(attempt: Callable[[str], _Found], reaches: Sequence[str],
           errors: type[Exception] | tuple[type[Exception], ...] = UnsupportedError) -> tuple[_Found, dict[str, str]]:
    """What ``attempt`` gives for the first reach that works, and why those before it do not.

    The error of the last reach is raised, and so are others than ``errors``.

    >>> widest(lambda reach: {"batch": 1}[reach], ["length", "batch", ""], KeyError)
    (1, {'length': "'length'"})
    """
    reasons: dict[str, str] = {}
    for reach in reaches[:-1]:
        try:
            return attempt(reach), reasons
        except errors as error:
            reasons[reach] = str(error)
    return attempt(reaches[-1]), reasons


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


def _has_fixed_rows(program: ExportedProgram) -> bool:
    """Whether an input keeps the example's number of rows; torch always fixes a single one."""
    values = [node.meta.get("val") for node in input_nodes(program)]
    rows = [str(value.shape[0]) for value in values if isinstance(value, Tensor) and value.ndim]
    return any(size.isdigit() and size != "1" for size in rows)


def input_nodes(program: ExportedProgram) -> list[fx.Node]:
    """What stands for each input in the graph of a program."""
    names = {s.arg.name for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"}
    return [n for n in program.graph.nodes if n.op == "placeholder" and n.name in names]


def sizes_of(tensor: Tensor) -> tuple[int | str, ...]:
    """The sizes of a traced tensor: numbers, or torch's names where they are open."""
    return tuple(s if isinstance(s, int) else str(s) for s in tensor.shape)


def _open_shapes(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], reach: str) -> dict[str, Any]:
    """The axes that stay open, for each input by the name that the network's forward has for it."""
    inputs = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    words = _has_numbers(pytree.tree_leaves(inputs))

    def axes(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        count = _open_axes(value, words) if reach == "length" else min(1, value.ndim)
        return dict.fromkeys(range(count), Dim.AUTO)

    return dict(pytree.tree_map(axes, dict(inputs)))


def _has_numbers(values: Sequence[Any]) -> bool:
    """Whether a tensor holds whole numbers or booleans, as tokens and masks do."""
    return any(isinstance(v, Tensor) and not v.is_floating_point() for v in values)


def _open_axes(value: Tensor, words: bool) -> int:
    """How many leading axes of an input are a batch and lengths: all of numbers, masks beside them, two of three of
    values.
    """
    if not value.is_floating_point() or (words and value.ndim == 4 and value.shape[1] == 1):
        return value.ndim
    return min(value.ndim, 2 if value.ndim == 3 else 1)


def _reason(error: BaseException) -> str:
    """Why ``torch.export`` refuses a network, in plain words where the reason is known."""
    kind, text = type(error).__name__, str(error)
    if kind in _DATA_DEPENDENT and ("data-dependent" in text or "Dynamic control flow" in text
                                    or "aten._local_scalar" in text):
        return "its control flow or a shape depends on the values of the data"
    if "FakeTensor" in text or "FakeTensor" in kind:
        return ("it reads a size from the values of a tensor, as with packed sequences (pad them, or pass the lengths "
                "as numbers)")
    return readable(error)


def _line_of(error: BaseException) -> str:
    """The innermost line of the network's own code that an error came from, as a clause."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("/torch/", "/secateur/graph/", "/secateur/files/exporters/")
    own = [f for f in frames if not any(place in f.filename for place in ours)]
    return f" at {own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].lineno}" if own else ""


def _sources(program: ExportedProgram) -> dict[str, tuple[str, Any]]:
    """What each placeholder of an exported program stands for."""
    sources: dict[str, tuple[str, Any]] = {}
    position = 0
    for spec in program.graph_signature.input_specs:
        kind = spec.kind.name.lower()
        if kind in ("parameter", "buffer"):
            sources[spec.arg.name] = kind, spec.target
        elif kind == "user_input":
            sources[spec.arg.name] = "input", position
            position += 1
        else:
            sources[spec.arg.name] = "constant", program.constants.get(spec.target)
    return sources


def _flatten(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of the graph with the bodies of grad-mode and autocast regions in line."""
    graph = fx.Graph()
    graph.output(_inline(module, graph))
    for node in [n for n in graph.nodes if n.op == "get_attr" and not n.users]:
        graph.erase_node(node)
    return fx.GraphModule(module, graph)


def _inline(module: fx.GraphModule, graph: fx.Graph, inputs: Iterable[Any] | None = None) -> Any:
    """Copy a graph's nodes into another, with its placeholders too where no inputs are named; returns its outputs."""
    values: dict[fx.Node, Any] = {}
    arguments = iter(inputs or ())
    for node in module.graph.nodes:
        if node.op == "output":
            return fx.map_arg(node.args[0], values.__getitem__)
        if node.op == "placeholder" and inputs is not None:
            values[node] = next(arguments)
        elif skip := _WRAPPERS.get(getattr(node.target, "__name__", "")):
            body = getattr(module, str(node.args[skip].target))
            values[node] = _inline(body, graph, fx.map_arg(list(node.args[skip + 1:]), values.__getitem__))
        elif node.target is operator.getitem and not isinstance(values[node.args[0]], fx.Node):
            values[node] = values[node.args[0]][node.args[1]]
        else:
            values[node] = graph.node_copy(node, values.__getitem__)
    raise AssertionError("a graph without an output")
