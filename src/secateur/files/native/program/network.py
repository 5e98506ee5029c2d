"""A network that runs the graph of a file: a loop over a list of operators; no code is made or evaluated."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import CutGraphWarning, SecateurError
from secateur.core.modules import place_in
from secateur.data.input_spec import InputSpec
from secateur.files.native import strict
from secateur.files.native.program.announce import announce, check_result, failed, spec_of
from secateur.files.native.program.arguments import fill_in
from secateur.files.native.program.read import Call, Program
from secateur.files.native.steps import check_example

_ORDINARY = (Tensor, nn.Parameter)
_REMEMBERED = 64


class FileNetwork(nn.Module):
    """What :func:`secateur.load` gives without a factory: the tensors under their names, and a graph that runs them.

    It computes what the network that was saved computes in evaluation mode; its parameters learn. ``original`` names
    the class that it was, ``low_bits`` the kinds of its layers in fewer bits.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor], original: str,
                 layers: Mapping[str, str] | None = None):
        super().__init__()
        self.program, self.original, self._homes = program, original, dict[str, tuple[nn.Module, str]]()
        self.low_bits = dict(layers or {})
        self._announced: dict[Any, list[Any]] = {}
        parameters = set(program.parameters)
        for name, tensor in tensors.items():
            home, last = holder(self, name)
            if name in parameters:
                home.register_parameter(last, nn.Parameter(tensor, learns(tensor, name, program)))
            else:
                home.register_buffer(last, tensor, persistent=not name.startswith(":"))
            self._homes[name] = home, last
        super().train(False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample, without the batch, as the graph has it; empty with several inputs or open sizes."""
        like = self.program.taken.like
        sides = like[0][1:] if len(like) == 1 and isinstance(like[0], tuple) else ()
        return () if None in sides else tuple(sides)

    def example(self) -> Any:
        """Random inputs like those that it was saved with, in their nesting; None where the file does not tell.

        Raises:
            SecateurError: they would take more memory than a file may ask for.
        """
        if not self.program.example:
            return None
        check_example(self.program.example, "the graph")
        return InputSpec.from_json(self.program.example).random()

    @property
    def batch(self) -> int:
        """The only size of a batch that the graph takes; 0 where it takes any."""
        like = self.program.taken.like
        return (like[0][0] or 0) if like and isinstance(like[0], tuple) and like[0] else 0

    def train(self, mode: bool = True) -> FileNetwork:
        """Set the mode, which changes nothing in what is computed.

        Warns:
            CutGraphWarning: train mode is asked for.
        """
        if mode:
            warnings.warn(f"a {self.original} out of a file computes what the network computes in evaluation mode, in "
                          "train mode too: no dropout, and norms by their stored statistics; load it with make_model "
                          "to train it as itself", CutGraphWarning, stacklevel=2)
        return super().train(mode)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the network, in its own nesting of tuples, lists and dicts.

        Raises:
            SecateurError: inputs that the graph does not hold for.
        """
        inputs = self.program.taken.leaves(args, kwargs)
        values: list[Any] = [getattr(*self._homes[name]) for name in self.program.tensors]
        device = next((v.device for v in (*values, *inputs) if isinstance(v, Tensor)), None)
        values += inputs
        # Within a trace sizes may be symbols and errors are the tracer's; there is nothing in memory to look at.
        traced = any(isinstance(v, Tensor) and type(v) not in _ORDINARY for v in values)
        told = self._announce(values, traced) if self.program.checked else None
        if told is None or traced:
            for call in self.program.calls:
                _keep(_call(call, values, device), call, values)
        else:
            self._run(values, device, told)
        return pytree.tree_map(lambda at: fill_in(at, values, device), self.program.gives)

    def _run(self, values: list[Any], device: torch.device | None, told: list[Any]) -> None:
        """Compute the values of all calls; each must be as announced."""
        types = not torch.is_autocast_enabled("cpu" if device is None else device.type)
        for number, (call, wanted) in enumerate(zip(self.program.calls, told, strict=True)):
            try:
                got = _call(call, values, device)
            except (SecateurError, MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                raise failed(error, number, call) from error
            check_result(got, wanted, number, call, types)
            _keep(got, call, values)

    def _announce(self, values: list[Any], traced: bool) -> list[Any]:
        """What each call gives for values of these shapes and types; remembered for the last few of them."""
        if traced:
            return announce(self.program, [spec_of(v) for v in values])
        key = (torch.get_default_dtype(), *((v.shape, v.dtype) if isinstance(v, Tensor) else v for v in values))
        if key not in self._announced:
            found = announce(self.program, [spec_of(v) for v in values])
            if len(self._announced) >= _REMEMBERED:
                self._announced.clear()
            self._announced[key] = found
        return self._announced[key]


def _call(call: Call, values: list[Any], device: torch.device | None) -> Any:
    """What one call gives."""
    return call.function(*(fill_in(a, values, device) for a in call.args),
                         **{k: fill_in(v, values, device) for k, v in call.kwargs.items()})


def _keep(got: Any, call: Call, values: list[Any]) -> None:
    """Keep a result, and let go of the values that no later call needs."""
    values.append(got)
    for at in call.done:
        values[at] = None


def learns(tensor: Tensor, name: str, program: Program) -> bool:
    """Whether a parameter takes gradients."""
    return name not in program.frozen and (tensor.is_floating_point() or tensor.is_complex())


def holder(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds a tensor of this dotted name, made where it is not there, and the name's last part.

    Raises:
        SecateurError: a part of the name is one that no module can give to a tensor or a module.
    """
    with contextlib.suppress(KeyError):
        home, last = place_in(root, name)
        if last and not hasattr(home, last):
            return home, last
    raise SecateurError(f"'{strict.short(name)}' is not a valid name for a tensor")
