"""Signals of the units of a group: their activations where they are read, the weights that read them, their norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from secateur.core.errors import UnsupportedError
from secateur.core.linalg import single
from secateur.core.types import Group, Member
from secateur.data.calibration import Calibration
from secateur.pruning.signals.inputs import Moments, input_moments


def module_name(tensor: str) -> str:
    """The module that a tensor belongs to."""
    return tensor.rpartition(".")[0]


def readers(model: nn.Module, group: Group) -> list[Member]:
    """The members that read a group along the whole input axis of a linear layer or an ungrouped convolution.

    Raises:
        UnsupportedError: there is none.
    """
    found = [m for m in group.members if m.role == "in" and m.axis == 1 and reads(model, m)]
    if not found:
        raise UnsupportedError(f"group '{group.name}': no linear or convolutional layer reads its units, so their "
                               "activations cannot be seen; skip it, or use a criterion that needs no data")
    return found


def reads(model: nn.Module, member: Member) -> bool:
    """Whether a member is the weight of a layer whose inputs can be seen."""
    module = model.get_submodule(module_name(member.tensor))
    plain = isinstance(module, nn.Linear) or (isinstance(module, _ConvNd) and module.groups == 1)
    return plain and not isinstance(module, _ConvTransposeNd) and member.tensor.endswith("weight")


def _channel_rows(module: nn.Module, x: Tensor) -> Tensor:
    """The inputs of a layer, one row a sample and place, one column a feature or channel: ``(1, rows, columns)``."""
    if isinstance(module, _ConvNd):
        x = (x if x.ndim == module.weight.ndim else x[None]).movedim(1, -1)
    return x.reshape(1, -1, x.shape[-1])


class _UnitSums:
    """What is summed over the activations of one reader's units: their products, values and zeros."""

    def __init__(self, member: Member, gram: bool):
        self.positions, self.gram = member.positions(), gram

    def __call__(self, rows: Tensor) -> Tensor:
        """``(1, rows, columns)`` to ``(units, units + 3)`` in float64: products (where asked), values, zeros, count."""
        units, inner = self.positions.shape
        values = single(rows[0])[:, self.positions.flatten().to(rows.device)].view(-1, units, inner)
        values = values.transpose(1, 2).reshape(-1, units)
        products = (values.T @ values) if self.gram else values.square().sum(0).diag_embed()
        count = torch.full((units, 1), float(len(values)), dtype=torch.float64, device=rows.device)
        sums = torch.stack([values.double().sum(0), (values == 0).double().sum(0)], 1)
        return torch.cat([products.double(), sums, count], 1)


def activations(model: nn.Module, group: Group, samples: Calibration, gram: bool) -> dict[str, Tensor]:
    """``unit_gram``, ``unit_mean`` and ``unit_zeros`` of a group, over all the layers that read it.

    Without ``gram`` only the diagonal of the first is summed. ``unit_rows`` is how many rows each of the layers saw.
    """
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    total: Tensor | float = 0.0
    members = readers(model, group)
    for member in members:
        seen: Moments = input_moments(model, [module_name(member.tensor)], samples, _UnitSums(member, gram),
                                      _channel_rows)[module_name(member.tensor)]
        total = total + seen.total
    assert isinstance(total, Tensor)
    mean = total[:, :-1] / total[:, -1:]
    return {"unit_gram": mean[:, :-2].to(dtype), "unit_mean": mean[:, -2].to(dtype),
            "unit_zeros": mean[:, -1].to(dtype), "unit_rows": total[0, -1] / len(members)}


def outgoing(model: nn.Module, group: Group) -> Tensor:
    """The weights that read each unit: ``(units, values)``.

    Raises:
        UnsupportedError: none does.
    """
    from secateur.pruning.granularity.neuron import unit_rows

    tensors = dict(model.named_parameters(remove_duplicate=False))
    parts = [unit_rows(tensors[m.tensor].detach(), m) for m in group.members if m.role == "in" and m.tensor in tensors]
    if not parts:
        raise UnsupportedError(f"group '{group.name}': nothing reads its units, so they have no outgoing weights")
    return torch.cat(parts, 1)


def scale(model: nn.Module, group: Group) -> Tensor:
    """The absolute factor of the batch norm behind each unit, the mean where there are several.

    Raises:
        UnsupportedError: there is none.
    """
    factors = [(m, model.get_submodule(module_name(m.tensor))) for m in group.members if m.tensor.endswith("weight")]
    found = [norm.weight.detach()[m.positions()].abs().mean(1) for m, norm in factors if isinstance(norm, _BatchNorm)]
    if not found:
        raise UnsupportedError(f"group '{group.name}' has no batch norm with a scale factor, which the criterion "
                               "needs; "
                               "skip it, or use another criterion")
    return torch.stack(found).mean(0)
