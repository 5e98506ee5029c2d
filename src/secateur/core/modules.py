"""Modules of a network: by dotted name, their device, their modes, and their inputs by position."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.tensors import tensors_in

_ENDS_NAMES = frozenset("\"'\\\n\r\0")
PLAIN_NAMES = "allowed are names without quotes, backslashes and line ends"
"""What :func:`is_plain_name` allows, in words."""


def at(root: Any, name: str) -> Any:
    """The attribute that a dotted name leads to.

    Raises:
        AttributeError: there is none.
    """
    return operator.attrgetter(name)(root)


def is_plain_name(name: str) -> bool:
    """Whether a name stays a name in the code that torch makes of a graph.

    torch puts names between quotes as they are: one that ends the quotes is run.

    >>> is_plain_name("encoder.0.fc-1.weight"), is_plain_name('graph"), print("hit")#'), is_plain_name("a\\nb")
    (True, False, False)
    """
    return not set(name) & _ENDS_NAMES


def check_names(model: nn.Module) -> None:
    """Refuse a network that has a module, parameter or buffer whose name is none, before torch makes code of it.

    Raises:
        SecateurError: it has.
    """
    for name in (*(name for name, _ in model.named_modules()), *stored_tensors(model)):
        if not is_plain_name(name):
            raise SecateurError(f"{name[:60]!r} is not a safe name for a module or tensor, as torch writes code with "
                                f"it: {PLAIN_NAMES}")


def place_in(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds a dotted name, and the last part of the name. Missing modules on the way are added.

    Raises:
        KeyError: a part of the name cannot be the name of a module.
        SecateurError: it would be more than a name in the code that torch makes of a graph.

    >>> root = nn.Module()
    >>> home, last = place_in(root, "encoder.fc.weight")
    >>> home is root.encoder.fc, last
    (True, 'weight')
    """
    if not is_plain_name(name):
        raise SecateurError(f"{name[:60]!r} is not a valid name for a module or tensor: {PLAIN_NAMES}")
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, last


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by all of its names."""
    return dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])


def keep_marks(model: nn.Module, made: nn.Module) -> nn.Module:
    """Give a network the marks that another one's code has put on its parameters of the same names, and return it.

    Optimizers read them (``weight._no_weight_decay = True``), and no copy of a parameter has them. Marks are numbers,
    texts, truth values and what is made of these; a tensor, which may have the old shape, is none.

    >>> net, made = nn.Linear(2, 1), nn.Linear(1, 1)
    >>> net.weight.decays = False
    >>> keep_marks(net, made).weight.decays
    False
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in made.named_parameters(remove_duplicate=False):
        # A cut graph has the network's names behind its body's.
        source = own.get(name, own.get(name.removeprefix("body.")))
        marks = vars(source) if source is not None and source is not parameter else {}
        vars(parameter).update({key: copy.deepcopy(value) for key, value in marks.items() if _is_mark(value)})
    return made


def _is_mark(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_is_mark, value))
    if isinstance(value, dict):
        return all(_is_mark(part) for pair in value.items() for part in pair)
    return value is None or isinstance(value, (bool, int, float, str))


def parameter_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by name; a shared one stands under its first name."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def each_side(value: Any, sides: int) -> tuple[int, ...]:
    """A setting of a convolution for each side; one number stands for all, as torch's functions take it.

    >>> each_side(2, 2), each_side((3,), 1)
    ((2, 2), (3,))
    """
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return given * sides if len(given) == 1 else given


def device_of(model: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU where it has none."""
    return next((t.device for ts in (model.parameters(), model.buffers()) for t in ts), torch.device("cpu"))


@contextmanager
def same_modes(model: nn.Module) -> Iterator[None]:
    """After the block every module is in training or evaluation mode as before it."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def learning(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Training mode within the block, and a function that restores it there; after the block modes are as before.

    Where the network as a whole was in training mode, its modules in evaluation mode (a frozen batch norm) stay so.
    """
    frozen = [module for module in model.modules() if model.training and not module.training]

    def start() -> None:
        model.train()
        for module in frozen:
            module.training = False

    with same_modes(model):
        start()
        yield start


class Plain(nn.Module):
    """A network that takes its keyword inputs by position, and gives its tensors as a tuple.

    >>> import torch
    >>> [tuple(t.shape) for t in Plain(nn.Linear(3, 2), ("input",))(torch.zeros(4, 3))]
    [(4, 2)]
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...] = ()):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Any:
        """The tensors of the network's outputs."""
        by_name = dict(zip(self.names, inputs, strict=True)) if self.names else {}
        return tuple(tensors_in(self.network(**by_name) if by_name else self.network(*inputs)))
