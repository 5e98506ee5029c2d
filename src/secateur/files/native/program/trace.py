"""From a network and an example to a graph that a file can hold, tried before it is written."""

from __future__ import annotations

import copy
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, UnsupportedError, first_line
from secateur.core.module_state import evaluating
from secateur.core.modules import device_of
from secateur.core.pytree import repeat
from secateur.core.tensors import to_device
from secateur.data.input_spec import InputSpec
from secateur.files.native.program.functional import capture_in_rules
from secateur.files.native.program.network import FileNetwork
from secateur.files.native.program.read import read
from secateur.files.native.program.write import program
from secateur.graph.capture import reaches, widest
from secateur.graph.example import check_example, double_batch, examples, has_words, inputs
from secateur.measure.compare import equal_to_rounding
from secateur.measure.size import tensors

BATCHES = (1, 3)
_TIMES_EPS = 32


def make_graph(model: nn.Module, example: Any) -> tuple[bytes, dict[str, Tensor]]:
    """The graph of a network as a file holds it, and the constants of its code.

    The first axis of every input is left open, and lengths of sentences, where the network allows it: where the graph,
    tried, gives the network's outputs for the example, for batches of one and of three, and for half the length.

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: it cannot be traced, holds what no file can, or its graph gives other outputs.
    """
    example = examples(example)[0]
    if device_of(model).type != "cpu":
        model = copy.deepcopy(model).cpu()
        example = to_device(example, "cpu")
    check_example(model, example)
    wide = double_batch(example)
    ladder = [reach for reach in reaches(example) if reach != "length" or has_words(example)]
    try:
        return widest(lambda reach: _try_reach(model, example, wide if reach else example, reach), ladder, Exception)[0]
    except SecateurError as error:
        raise UnsupportedError(f"save: the graph of {type(model).__name__} cannot be kept: {first_line(error)}; save "
                               "it without example=") from error


def _try_reach(model: nn.Module, example: Any, traced: Any, reach: str) -> tuple[bytes, dict[str, Tensor]]:
    """The graph, where it gives what the network gives."""
    told, constants = program(model, capture_in_rules(model, traced, reach))
    told["example"] = InputSpec.of(example).to_json()
    text = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    own = {name: tensor.detach() for name, tensor in tensors(model)} | constants
    graph = FileNetwork(read(text, set(own), "the graph", trusted=True), own, type(model).__name__)
    _check_gives(model, graph, example)
    if reach and any(None in one for one in graph.program.taken.like if isinstance(one, tuple)):
        for batch in BATCHES:
            _check_gives(model, graph, repeat(example, batch))
    if reach == "length":
        _check_gives(model, graph, _shorten(graph, example))
    return text, constants


def _shorten(graph: FileNetwork, example: Any) -> Any:
    """An example with every open axis but the first half as long."""
    leaves, spec = pytree.tree_flatten(example)
    args, kwargs = inputs(example)
    order = {id(v): like for v, like in zip(graph.program.taken.leaves(args, kwargs), graph.program.taken.like,
                                            strict=True)}

    def half(value: Any) -> Any:
        for axis, size in enumerate(order.get(id(value), ())):
            if axis and size is None:
                value = value.narrow(axis, 0, max(1, value.shape[axis] // 2))
        return value

    return pytree.tree_unflatten([half(v) if isinstance(v, Tensor) else v for v in leaves], spec)


def _check_gives(model: nn.Module, graph: FileNetwork, example: Any) -> None:
    """Refuse a graph that gives other outputs than the network.

    Raises:
        SecateurError: it does; batches that the network itself does not take are passed over.
    """
    try:
        want = _two_calls(model, model, example)
    except Exception:
        return
    # The graph has the tensors of the network, and may write into them.
    got = _two_calls(model, graph, example)
    if len(got) != len(want) or not all(equal_to_rounding(a, b, _TIMES_EPS) for a, b in zip(got, want, strict=True)):
        raise SecateurError("its outputs differ from the network's")


def _two_calls(model: nn.Module, network: nn.Module, example: Any) -> list[Any]:
    """What a network gives in two calls, one after the other: its code may count them, which a graph cannot.

    ``model``, in evaluation mode and the same network or the one whose tensors it has, is left as it was.
    """
    args, kwargs = inputs(example)
    with evaluating(model), torch.no_grad():
        return [leaf for _ in range(2)
                for leaf in pytree.tree_leaves(network(*copy.deepcopy(args), **copy.deepcopy(kwargs)))]
