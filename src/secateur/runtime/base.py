"""The module that every engine returns, and the checks of the model and the example that all engines share."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, UnsupportedError, first_line
from secateur.core.modules import same_modes
from secateur.graph.example import changes_by_call

CHANGES = "the network returns different outputs at every call: its code counts its calls, or keeps other state"


class Compiled(nn.Module):
    """A compiled network: same outputs, inference only.

    An engine derives from it, overrides :meth:`run` and :meth:`explain`. ``training`` is always
    ``False``; a call that would need gradients is refused.
    """

    engine = ""

    def __init__(self) -> None:
        super().__init__()
        super().train(False)

    def forward(self, *inputs: Any) -> Any:
        """The outputs of the network that was compiled.

        Raises:
            SecateurError: an input that is no CPU tensor, or that requires gradients while they are on.
        """
        if torch._C._get_tracing_state() is not None:
            raise UnsupportedError("torch.jit.trace cannot see a compiled network; "
                                   "allowed: torch.export, torch.compile")
        for position, value in enumerate(inputs):
            if type(value) is not Tensor or value.requires_grad or not value.is_cpu:
                _check_input(value, position)
        return self.run(*inputs)

    def run(self, *inputs: Any) -> Any:
        """Compute the outputs; the inputs were checked, and neither they nor any parameter requires gradients."""
        raise NotImplementedError

    def explain(self) -> str:
        """What runs where, one line a layer."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Compiled:
        """Refuse training mode; ``train(False)`` changes nothing."""
        if mode:
            raise UnsupportedError("a compiled network is inference only; train the pruned model and compile it again")
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Compiled:
        """Refuse to become another type or to move (``half()``, ``to("cuda")``); anything else changes nothing."""
        del recurse
        probe = fn(torch.zeros(1, dtype=torch.float32, device="cpu"))
        if probe.dtype != torch.float32 or probe.device.type != "cpu":
            raise UnsupportedError(f"a compiled network stays float32 on the CPU; asked for {probe.dtype} on "
                                   f"'{probe.device}'; convert the model and compile it again")
        return self

    def __deepcopy__(self, memo: Any) -> Compiled:
        """Itself: it holds nothing that can change."""
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be pickled."""
        raise UnsupportedError("a compiled network cannot be pickled: it is code for this machine; "
                               "save the pruned model and compile it where it is loaded")


def _check_input(value: Any, position: int) -> None:
    """Refuse what no engine takes, before anything runs."""
    if not isinstance(value, Tensor):
        raise SecateurError(f"input {position}: got {type(value).__name__}, allowed: a tensor on the CPU")
    if value.device.type != "cpu":
        raise UnsupportedError(f"input {position}: got a tensor on '{value.device}', allowed: cpu")
    if value.layout != torch.strided:
        raise UnsupportedError(f"input {position}: got layout {value.layout}, allowed: torch.strided (x.to_dense())")
    if value.requires_grad and torch.is_grad_enabled():
        raise UnsupportedError(f"input {position} requires gradients: a compiled network is inference only; "
                               "train the pruned model, or call it under torch.no_grad()")


def check_model(model: Any, example: Any) -> tuple[Any, ...]:
    """Refuse what cannot be compiled, before anything is compiled; returns the inputs as a tuple.

    Raises:
        SecateurError: no module, an example that is missing, is no CPU tensor or does not run.
        UnsupportedError: parameters on another device or of another type than float32.
    """
    if not isinstance(model, nn.Module):
        raise SecateurError(f"compile: got {type(model).__name__} as model, allowed: a torch.nn.Module")
    if any(isinstance(module, Compiled) for module in model.modules()):
        raise SecateurError("compile: the model is compiled already, or holds a compiled network; "
                            "give the pruned model that it was made from")
    if example is None:
        raise SecateurError("compile: got no example; pass one input of the network or a tuple of them")
    _check_tensors(model)
    inputs = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    if not inputs:
        raise SecateurError("compile: got an empty example; pass one input of the network or a tuple of them")
    for position, value in enumerate(inputs):
        _check_input(value.detach() if isinstance(value, Tensor) else value, position)
    check_runs(model, inputs)
    return inputs


def _check_tensors(model: nn.Module) -> None:
    """Refuse parameters and floating-point buffers that are not float32 on the CPU, naming the first."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.device.type != "cpu":
            raise UnsupportedError(f"'{name}' is on '{tensor.device}', allowed: cpu (model.cpu())")
        if tensor.dtype != torch.float32 and (tensor.is_floating_point() or tensor.is_complex()):
            raise UnsupportedError(f"'{name}' is {tensor.dtype}, allowed: torch.float32 (model.float())")


def check_runs(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """The outputs of a copy of the model in evaluation mode, on copies of the inputs, without gradients.

    Raises:
        SecateurError: it does not run.
    """
    model = _copy(model)
    try:
        with same_modes(model), torch.no_grad():
            return model.eval()(*map(clone, inputs))
    except Exception as error:
        raise SecateurError(f"the example does not run through the network: {first_line(error)}") from error


def check_state(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Refuse a network that changes at every call. What it makes once, at the first call, is no change.

    Raises:
        UnsupportedError: it writes to its own buffers; the message names the first. Or its code counts its calls.
    """
    model = _copy(model).eval()
    with torch.no_grad():
        model(*map(clone, inputs))
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model(*map(clone, inputs))
    for name, buffer in model.named_buffers():
        if name not in before or not torch.equal(before[name].nan_to_num(), buffer.nan_to_num()):
            raise UnsupportedError(f"the network writes to its own buffer '{name}' at every call")
    if changes_by_call(model, inputs, {}):
        raise UnsupportedError(CHANGES)


def _copy(model: nn.Module) -> nn.Module:
    """A copy of the model, or the model itself where it holds something that cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception:
        return model


def clone(value: Any) -> Any:
    """A copy of a tensor without its history; anything else as it is."""
    return value.detach().clone() if isinstance(value, Tensor) else value
