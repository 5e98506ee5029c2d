"""From a file to a network: the caller's function makes it and it is filled, or the graph in the file is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing, first_line
from secateur.core.paths import path_of
from secateur.files.native import dtypes, strict
from secateur.files.native.differences import differences
from secateur.files.native.facts import FileFacts
from secateur.files.native.low_bits import put_back
from secateur.files.native.program import FileNetwork, read
from secateur.files.native.read import read_whole
from secateur.files.native.steps import check_example, type_and_shape
from secateur.measure.size import tensors
from secateur.pruning.apply import carry_out
from secateur.pruning.history import Step, plan_of_step, remember, tensor_shapes

_NO_PROGRAM = ("'{}' holds the tensors of a {} but no graph to run: give make_model, a function that makes the "
              "original network, before the cut; a file saved with example= needs none")


def load(path: str | Path, make_model: Callable[[], nn.Module] | None = None, example: Any = None,
         trusted: bool = False) -> nn.Module:
    """Load a network from a file that :func:`secateur.save` wrote.

    With ``make_model`` the original is made, cut as the file says, and filled with the tensors: it has its own class,
    learns, and can be cut again. Where the file says that layers compute in fewer bits, these take the place of the
    layers that ``make_model`` makes in float32. Without it the graph in the file is run, operator by operator from a
    fixed list: it gives the outputs of evaluation mode and has no class of its own. No code in the file is ever run.
    Before each operator a rule checks what it gets, since torch's operators do not: some would read and write foreign
    memory.

    Args:
        path: the file.
        make_model: a function or class that makes the network as it was before the first cut; its weights are
            overwritten.
        example: inputs to trace it with; needed where those of the cut were no tensors.
        trusted: run a graph with operators that no rule covers, too, unchecked. Only for files whose origin you know.

    Returns:
        The network. Every tensor has the bits and the type that were saved; the mode is that of ``make_model``, or
        evaluation mode.

    Raises:
        SecateurError: the file is missing, damaged or of other origin, was saved from another network, or has no graph.

    >>> import tempfile, secateur as sc
    >>> net = sc.prune(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)), 0.9)
    >>> path = sc.save(net, tempfile.mkdtemp() + "/net.safetensors", example=torch.rand(2, 64))
    >>> back = sc.load(path)
    >>> torch.equal(back(torch.ones(5, 64)), net(torch.ones(5, 64)))
    True
    """
    path = path_of("load", path)
    if make_model is None:
        return _load_graph(path, trusted)
    network: nn.Module | None = None

    def fits(facts: FileFacts) -> None:
        nonlocal network
        network = _cut_alike(make_network(make_model), facts, example)

    facts, held, _ = read_whole(path, fits)
    assert network is not None
    _fill(network, held)
    return remember(network, facts.steps)


def _load_graph(path: Path, trusted: bool) -> nn.Module:
    """The network of the graph in a file."""
    def check(facts: FileFacts) -> None:
        if not facts.program:
            raise SecateurError(_NO_PROGRAM.format(path, strict.short(facts.network)))

    facts, held, text = read_whole(path, check)
    program = read(text, set(held), f"'{path}': the graph", trusted)
    network = FileNetwork(program, held, strict.short(facts.network), facts.layers)
    return remember(network, facts.steps)


def make_network(make_model: Any) -> nn.Module:
    """The network that a function makes; it must be one."""
    if isinstance(make_model, nn.Module) or not callable(make_model):
        raise SecateurError(f"load: got a {type(make_model).__name__} as make_model; allowed is a function or class "
                            "that makes the original network, before the cut, such as lambda: Net(10)")
    try:
        network = make_model()
    except SecateurError:
        raise
    except Exception as error:
        raise SecateurError(f"load: make_model failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise SecateurError(f"load: make_model returned a {type(network).__name__}; allowed is a torch.nn.Module")
    return _materialize(network)


@torch.no_grad()
def _materialize(network: nn.Module) -> nn.Module:
    """A network that was made on the device ``meta``, with zeros in memory for its tensors; any other as it is."""
    if any(tensor.is_meta for _, tensor in tensors(network)):
        network = network.to_empty(device="cpu")
        for _, tensor in tensors(network):
            tensor.zero_()
    return network


def _cut_alike(network: nn.Module, facts: FileFacts, example: Any) -> nn.Module:
    """The network cut as a file says; its shapes are then those of the file.

    Raises:
        SecateurError: a tensor has another shape before or after a cut, or the cuts do not fit the network.
    """
    for step in facts.steps:
        _check_same(network, step.tensors, facts.path)
        _cast(network, step.tensors)
        network = _cut_once(network, step, example, facts.path)
    network = put_back(network, facts.layers, facts.stored, f"'{facts.path}': the layers")
    _check_same(network, {n: f"{one.dtype}{list(one.shape)}" for n, one in facts.stored.items()}, facts.path)
    return network


def _cut_once(network: nn.Module, step: Step, example: Any, path: Path) -> nn.Module:
    """The network after one cut."""
    where = f"'{path}': the cuts"
    if example is None:
        check_example(step.example, where)
    with failing(f"{where} do not fit the network that make_model makes"):
        return carry_out(network, plan_of_step(network, step, example), step.proved).network


def _check_same(network: nn.Module, told: Mapping[str, str], path: Path) -> None:
    """Refuse a network whose tensors have other names or shapes than a file says; the message names all of them."""
    own, saved = ({n: t[t.index("["):] for n, t in one.items()} for one in (tensor_shapes(network), told))
    if found := differences(saved, own):
        raise SecateurError(f"'{path}' was saved from another network than the one that make_model makes: {found}")


def _cast(network: nn.Module, told: Mapping[str, str]) -> None:
    """Give every tensor of a network the type that it had."""
    for name, tensor in tensors(network):
        kind = dtypes.dtype_of(type_and_shape(told[name], name)[0], name)
        if tensor.dtype != kind:
            tensor.data = tensor.data.to(kind)


@torch.no_grad()
def _fill(network: nn.Module, held: Mapping[str, Tensor]) -> None:
    """Put the tensors of a file into a network, in the types that the file has."""
    for name, tensor in tensors(network):
        if tensor.dtype == held[name].dtype:
            tensor.copy_(held[name])
        else:
            tensor.data = held[name].to(tensor.device)
