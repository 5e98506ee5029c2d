"""Turns an exported program into a module of layers: a call that multiplies by a stored weight becomes a layer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from secateur.core.modules import at, place_in
from secateur.graph.calls import arguments_of
from secateur.graph.cut.stored_graph import StoredGraph
from secateur.models.loaders._fold_bias import fold_biases
from secateur.models.loaders._stored_tensors import (
    MOVED,
    SAME,
    Origin,
    Origins,
    Stored,
    base,
    drop_checks,
    find_stored,
)
from secateur.pruning.history import NAME

_CONVS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class Layered(StoredGraph):
    """A graph of operators whose weights lie in layers; it computes what the exported program computes.

    A copy keeps the record of earlier cuts.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            made = super().__deepcopy__(memo)
        if NAME in self.__dict__:
            made.__dict__[NAME] = self.__dict__[NAME]
        return made


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that takes the place of a call: the tensors that it holds, and the value that it reads.

    ``turned`` says that its weight is the transpose of what is stored.
    """

    module: nn.Module
    held: dict[str, Stored]
    source: Any
    turned: bool = False


def rebuild_layers(program: ExportedProgram, names: dict[str, str] | None = None) -> tuple[Layered, Origins]:
    """An exported program as a module, with a layer for each call that multiplies by stored weights.

    Tensors that several calls read and calls that no layer computes stay in the graph as they are.

    Args:
        program: what ``torch.export`` gives.
        names: new names of its tensors, by their old ones.

    Returns:
        The module; and for each of its tensors where it comes from.
    """
    body = program.module(check_guards=False)
    graph, root, origins = drop_checks(body.graph), nn.Module(), Origins()
    tensors = {str(n.target): at(body, str(n.target)) for n in graph.nodes if n.op == "get_attr"}
    named = {old: (names or {}).get(old, old) for old in tensors}
    for node in [n for n in graph.nodes if n.op == "call_function"]:
        if layer := _layer_of(node, tensors):
            _place_layer(root, graph, node, layer, named, origins)
    fold_biases(root, graph, tensors, origins)
    for node in reversed(graph.nodes):
        if not node.users and (node.op == "get_attr" or base(node) in SAME | MOVED):
            graph.erase_node(node)
    left = {str(n.target) for n in graph.nodes if n.op == "get_attr"}
    for old in sorted(left):
        named[old] = _free_name(root, named[old])
        _put(root, named[old], _own(tensors[old]))
        origins[named[old]] = Origin(old)
    for node in [n for n in graph.nodes if n.op == "get_attr"]:
        node.target = named[str(node.target)]
    made = Layered(root, graph)
    made.recompile()
    return made.eval(), origins


def _layer_of(node: fx.Node, tensors: dict[str, Any]) -> Layer | None:
    """The layer that computes what a call computes; None where there is none."""
    kind, args = base(node), [*node.args, None, None]
    if kind == "linear":
        return _linear(args[1], args[2], args[0], False, tensors)
    if kind in ("matmul", "mm"):
        return _linear(args[1], None, args[0], True, tensors)
    if kind == "addmm" and not node.kwargs:
        return _linear(args[2], args[0], args[1], True, tensors)
    if kind in ("conv1d", "conv2d", "conv3d", "convolution"):
        return _convolution(arguments_of(node), tensors)
    return _batch_norm(arguments_of(node), tensors) if kind == "batch_norm" else None


def _stored_by_name(tensors: dict[str, Any], **nodes: Any) -> dict[str, Stored] | None:
    """The stored tensors behind the nodes that are not None; None where one of these nodes reads something else."""
    found = {name: find_stored(node, tensors) for name, node in nodes.items() if node is not None}
    return {n: s for n, s in found.items() if s} if all(found.values()) else None


def _linear(weight: Any, bias: Any, source: Any, turned: bool, tensors: dict[str, Any]) -> Layer | None:
    """A linear layer of a stored matrix; ``turned`` where the call multiplies by it from the right."""
    found = _stored_by_name(tensors, weight=weight, bias=bias)
    if found is None or found["weight"].value.ndim != 2 or ("bias" in found and found["bias"].value.ndim != 1):
        return None
    into, out = found["weight"].value.shape if turned else found["weight"].value.shape[::-1]
    return Layer(nn.Linear(into, out, "bias" in found, device="meta"), found, source, turned)


def _convolution(call: dict[str, Any], tensors: dict[str, Any]) -> Layer | None:
    """A convolution with a stored kernel, unless it is transposed."""
    found = _stored_by_name(tensors, weight=call["weight"], bias=call["bias"])
    if found is None or call.get("transposed"):
        return None
    out, into, *kernel = found["weight"].value.shape

    def sides(name: str) -> Any:
        sizes = call[name]
        return sizes if isinstance(sizes, str) or len(sizes) == len(kernel) else [*sizes] * len(kernel)

    make: Any = _CONVS[len(kernel) + 2]
    module = make(into * call["groups"], out, tuple(kernel), sides("stride"), sides("padding"), sides("dilation"),
                  call["groups"], "bias" in found, device="meta")
    return Layer(module, found, call["input"])


def _batch_norm(call: dict[str, Any], tensors: dict[str, Any]) -> Layer | None:
    """A batch norm in evaluation mode, all of whose tensors are stored."""
    names = ("weight", "bias", "running_mean", "running_var")
    found, value = _stored_by_name(tensors, **{n: call[n] for n in names}), call["input"].meta.get("val")
    if found is None or len(found) < len(names) or call["training"] or not isinstance(value, Tensor):
        return None
    module = _NORMS[value.ndim](len(found["weight"].value), call["eps"], call["momentum"], device="meta")
    module.num_batches_tracked = torch.tensor(0)
    return Layer(module, found, call["input"])


def _place_layer(root: nn.Module, graph: fx.Graph, node: fx.Node, layer: Layer, named: dict[str, str],
                 origins: Origins) -> None:
    """Put a layer in the place of a call, under the name that its weight's module had."""
    path = _free_name(root, _layer_path(named[layer.held["weight"].name]))
    for name, tensor in layer.held.items():
        turned = layer.turned and name == "weight"
        value = (tensor.value.T if turned else tensor.value).contiguous().clone()
        _put(layer.module, name, value if name.startswith("running") else nn.Parameter(value))
        origins[f"{path}.{name}"] = Origin(tensor.name, tensor, turned)
    _put(root, path, layer.module)
    with graph.inserting_before(node):
        new = graph.create_node("call_module", path, (layer.source,))
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _layer_path(name: str) -> str:
    """The name of the layer that holds a weight, from the weight's name.

    >>> _layer_path("fc.weight"), _layer_path("attention.in_proj_weight"), _layer_path("weight")
    ('fc', 'attention.in_proj', 'layer')
    """
    above, _, leaf = name.rpartition(".")
    leaf = leaf.removesuffix("weight").removesuffix("kernel").rstrip("_")
    return ".".join(part for part in (above, leaf) if part) or "layer"


def _free_name(root: nn.Module, path: str) -> str:
    """A dotted name that nothing has yet: the given one, if need be with a number behind it."""
    number, tried = 1, path
    while _has(root, tried):
        number += 1
        tried = f"{path}_{number}"
    return tried


def _has(root: nn.Module, path: str) -> bool:
    """Whether anything lies under a dotted name."""
    try:
        at(root, path)
    except AttributeError:
        return False
    return True


def _put(root: nn.Module, path: str, what: nn.Module | Tensor) -> None:
    """Store a module, a parameter or a buffer under a dotted name."""
    root, leaf = place_in(root, path)
    if isinstance(what, (nn.Module, nn.Parameter)):
        setattr(root, leaf, what)
    else:
        root.register_buffer(leaf, what)


def _own(what: Any) -> Any:
    """A copy of a tensor, still a parameter where the tensor is one; a module as it is."""
    if isinstance(what, nn.Module):
        return what
    value = what.detach().clone()
    return nn.Parameter(value) if isinstance(what, nn.Parameter) and value.is_floating_point() else value
