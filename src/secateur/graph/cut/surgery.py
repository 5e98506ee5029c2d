"""Removes units: slices stored tensors in a copy that never holds the parts that go."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from secateur.core.errors import SecateurError
from secateur.core.modules import stored_tensors
from secateur.core.types import Cut

Masks = dict[str, dict[int, Tensor]]


def masks(model: nn.Module, cuts: Sequence[Cut]) -> Masks:
    """What stays of each axis of each stored tensor: ``{tensor: {axis: bool positions}}``.

    Raises:
        SecateurError: a cut without a group, or one that cannot be cut, or that leaves no unit.
    """
    masks: Masks = defaultdict(dict)
    whole = stored_tensors(model)
    for cut in cuts:
        check(cut)
        assert cut.group is not None
        removed = ~cut.keep.cpu()
        for m in cut.group.members:
            size = whole[m.tensor].shape[m.axis]
            mask = masks[m.tensor].setdefault(m.axis, torch.ones(size, dtype=torch.bool))
            mask[m.positions()[removed].flatten()] = False
    return masks


def check(cut: Cut) -> None:
    """Refuse a cut that names no group, a group that cannot be cut, or that leaves nothing."""
    if cut.group is None:
        raise SecateurError(f"cut '{cut.name}' names no group: units can be removed from groups only")
    if cut.group.reason:
        raise SecateurError(f"group '{cut.name}' cannot be cut: {cut.group.reason}")
    if cut.keep.shape != (cut.group.units,):
        raise SecateurError(f"cut '{cut.name}' keeps {tuple(cut.keep.shape)}, the group has {cut.group.units} units")
    if not cut.keep.any():
        raise SecateurError(f"cut '{cut.name}' leaves none of {cut.group.units} units: at least one must stay")


def slice_tensor(tensor: Tensor, masks: dict[int, Tensor]) -> Tensor:
    """A tensor without what goes along each axis, in memory of its own; one that is channels last stays so."""
    layout = _layout_of(tensor)
    for axis, mask in masks.items():
        tensor = tensor.index_select(axis, mask.nonzero().flatten().to(tensor.device))
    return tensor.contiguous(memory_format=layout) if masks else tensor.clone(memory_format=layout)


def _layout_of(tensor: Tensor) -> torch.memory_format:
    """The memory format of a tensor: channels last where it is that and not contiguous as well."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.ndim)
    if last is None or tensor.is_contiguous() or not tensor.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def refresh(model: nn.Module) -> None:
    """Compute anew what hooks of torch compute before each call: the weights of its older weight and spectral norm."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            with torch.no_grad():
                if isinstance(hook, WeightNorm):
                    setattr(module, hook.name, hook.compute_weight(module))
                elif isinstance(hook, SpectralNorm):
                    setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))


def sliced_copy(model: nn.Module, masks_of: Masks) -> nn.Module:
    """A deep copy of a network with sliced tensors in place of the old ones; ties stay ties."""
    memo: dict[int, object] = {}
    with torch.no_grad():
        for name, tensor in stored_tensors(model).items():
            if name in masks_of and id(tensor) not in memo:
                small = slice_tensor(tensor, masks_of[name])
                learned = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(small, tensor.requires_grad) if learned else small
    return copy.deepcopy(model, memo)
