"""Carries an optimizer through a cut: momentum and Adam's moments lose what their weights lost."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.types import Cut
from secateur.graph.cut.surgery import Masks, masks, slice_tensor


def carry_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, small: nn.Module,
                    cuts: Sequence[Cut]) -> torch.optim.Optimizer:
    """An optimizer for the cut network that goes on where the old one is; the old one stays as it is.

    Args:
        optimizer: the optimizer of ``model``; every tensor of its state that has the shape of its weight is cut.
        model: the network before the cut.
        small: the network after it.
        cuts: what was kept.

    Raises:
        SecateurError: the optimizer holds parameters that are not the network's, or state of other shapes than theirs.
    """
    masks_of = _by_every_name(model, masks(model, [cut for cut in cuts if cut.removed]))
    names = {id(p): n for n, p in model.named_parameters(remove_duplicate=False)}
    after = dict(small.named_parameters(remove_duplicate=False))
    after |= {n.removeprefix("body."): p for n, p in after.items()}
    groups = [{**group, "params": [after[name_of(p, names)] for p in group["params"]]}
              for group in optimizer.param_groups]
    new = type(optimizer)(groups, **_constructor_defaults(optimizer))
    for parameter, state in optimizer.state.items():
        name = name_of(parameter, names)
        new.state[after[name]] = {k: _cut_state(v, parameter, name, masks_of) for k, v in state.items()}
    return new


def _by_every_name(model: nn.Module, masks_of: Masks) -> Masks:
    """The masks of shared weights under all of their names."""
    every = dict(model.named_parameters(remove_duplicate=False))
    by_id = {id(every[name]): mask for name, mask in masks_of.items() if name in every}
    return masks_of | {name: by_id[id(p)] for name, p in every.items() if id(p) in by_id}


def name_of(parameter: Tensor, names: dict[int, str]) -> str:
    """The name of an optimizer's parameter in the network."""
    if id(parameter) not in names:
        raise SecateurError(f"the optimizer holds a parameter of shape {tuple(parameter.shape)} that the network "
                            "does not have: build the optimizer from the network that is pruned")
    return names[id(parameter)]


def _cut_state(value: Any, parameter: Tensor, name: str, masks_of: Masks) -> Any:
    """One entry of an optimizer's state, sliced where it has the shape of its weight."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return slice_tensor(value, masks_of.get(name, {})).clone()
    if isinstance(value, Tensor) and value.ndim and masks_of.get(name):
        raise SecateurError(f"the optimizer keeps a state of shape {tuple(value.shape)} for '{name}' of shape "
                            f"{tuple(parameter.shape)}; allowed: state of the weight's own shape; build a new "
                            "optimizer")
    return value.clone() if isinstance(value, Tensor) else value


def _constructor_defaults(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The defaults that the optimizer's own constructor takes."""
    parameters = inspect.signature(type(optimizer).__init__).parameters
    return {k: v for k, v in optimizer.defaults.items() if k in parameters}
