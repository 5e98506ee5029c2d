"""From a file to a network: made by the caller's own function and filled, or run from the graph in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing, first_line
from secateur.files.native import dtypes, strict
from secateur.files.native.contents import Content
from secateur.files.native.differences import differences
from secateur.files.native.program import FileNetwork, read
from secateur.files.native.read import whole
from secateur.files.native.saving import path_of
from secateur.files.native.steps import check_example
from secateur.files.native.steps import described as read_described
from secateur.measure.size import tensors
from secateur.pruning.apply import carry_out
from secateur.pruning.history import Step, again, remember, tensor_shapes

NO_PROGRAM = ("'{}' holds the tensors of a {} and no graph to run: give make_model, a function that makes the network "
              "as it was before the cut; or save it with example=, inputs like its own, then it loads without one")


def load(path: str | Path, make_model: Callable[[], nn.Module] | None = None, example: Any = None) -> nn.Module:
    """Read a network that :func:`secateur.save` wrote: made again by a function, or run from the graph in the file.

    With ``make_model`` the original is made, cut alike, and the tensors are put in: the network has its own class,
    learns, and can be cut again. Without it the graph that was saved for ``example`` is run, operator by operator out
    of a fixed list: same outputs as in evaluation mode, no class of its own. No code in the file is ever run.

    Args:
        path: the file.
        make_model: a function or class that makes the network as it was before the first cut, of any weights.
        example: inputs to trace it with; needed where those of the cut were no tensors.

    Returns:
        The network, every tensor bit for bit, in the type that it was saved in; its mode is that of ``make_model``, or
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
        return run_from(path)
    network: nn.Module | None = None

    def fits(content: Content) -> None:
        nonlocal network
        network = cut_alike(made(make_model), content, example)

    content, held, _ = whole(path, fits)
    assert network is not None
    fill(network, held)
    return remember(network, content.steps)


def run_from(path: Path) -> nn.Module:
    """The network of the graph in a file."""
    def check(content: Content) -> None:
        if not content.program:
            raise SecateurError(NO_PROGRAM.format(path, strict.short(content.network)))

    content, held, text = whole(path, check)
    network = FileNetwork(read(text, set(held), f"'{path}': the graph"), held, strict.short(content.network))
    return remember(network, content.steps)


def made(make_model: Any) -> nn.Module:
    """The network that a function makes."""
    if isinstance(make_model, nn.Module) or not callable(make_model):
        raise SecateurError(f"load: got a {type(make_model).__name__} as make_model; allowed is a function or class "
                            "that makes the network as it was before the cut, such as lambda: Net(10)")
    try:
        network = make_model()
    except SecateurError:
        raise
    except Exception as error:
        raise SecateurError(f"load: make_model failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise SecateurError(f"load: make_model gave a {type(network).__name__}; allowed is a torch.nn.Module")
    return materialised(network)


@torch.no_grad()
def materialised(network: nn.Module) -> nn.Module:
    """A network with memory for its tensors, noughts in them, where it was made on the device ``meta``."""
    if any(tensor.is_meta for _, tensor in tensors(network)):
        network = network.to_empty(device="cpu")
        for _, tensor in tensors(network):
            tensor.zero_()
    return network


def cut_alike(network: nn.Module, content: Content, example: Any) -> nn.Module:
    """The network cut as a file tells, of the shapes that it tells of.

    Raises:
        SecateurError: a tensor has another shape before or after a cut, or the cuts do not fit the network.
    """
    for step in content.steps:
        check_same(network, step.tensors, content.path)
        cast(network, step.tensors)
        network = cut_once(network, step, example, content.path)
    check_same(network, {n: f"{one.dtype}{list(one.shape)}" for n, one in content.tensors.items()}, content.path)
    return network


def cut_once(network: nn.Module, step: Step, example: Any, path: Path) -> nn.Module:
    """One cut done again."""
    where = f"'{path}': the cuts"
    if example is None:
        check_example(step, where)
    with failing(f"{where} do not fit the network that make_model makes"):
        return carry_out(network, again(network, step, example), step.proved).network


def check_same(network: nn.Module, told: Mapping[str, str], path: Path) -> None:
    """Refuse a network whose tensors have other names or shapes than a file tells, every one of them named."""
    own, saved = ({n: t[t.index("["):] for n, t in one.items()} for one in (tensor_shapes(network), told))
    if found := differences(saved, own):
        raise SecateurError(f"'{path}' was saved from another network than make_model makes: {found}")


def cast(network: nn.Module, told: Mapping[str, str]) -> None:
    """Give every tensor of a network the type that it had."""
    for name, tensor in tensors(network):
        kind = dtypes.dtype_of(read_described(told[name], name)[0], name)
        if tensor.dtype != kind:
            tensor.data = tensor.data.to(kind)


@torch.no_grad()
def fill(network: nn.Module, held: Mapping[str, Tensor]) -> None:
    """Put the tensors of a file into a network, in the file's types."""
    for name, tensor in tensors(network):
        if tensor.dtype == held[name].dtype:
            tensor.copy_(held[name])
        else:
            tensor.data = held[name].to(tensor.device)
