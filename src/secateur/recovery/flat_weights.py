"""What is left of a network's weights as one vector: the optimizer keeps its state for these alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from secateur.core.modules import device_of

Projection = Callable[[str, Tensor], Tensor]
"""From a parameter's name and the values learned for it, in its shape, to what the network is given: the same values,
or these rounded. Gradients pass it as they are (Bengio, Léonard and Courville, 2013: straight through)."""


class FlatWeights:
    """The trainable parameters of a network behind each other in one vector of float32 (float64 where one is).

    Of tensors that were cut the zeros are left out, so that they stay zero. The network reads its parameters as ever;
    :meth:`write` puts the vector's values there.

    Args:
        model: the network; its parameters are written in place.
        cut: the names of parameters whose zeros stay zero.
        project: what is written in place of the values learned.

    >>> net = nn.Linear(3, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
    >>> flat = FlatWeights(net, ["weight"])
    >>> net(torch.ones(1, 3)).backward()
    >>> flat.gather()
    >>> flat.values, flat.values.grad
    (tensor([1.], requires_grad=True), tensor([1.]))
    """

    def __init__(self, model: nn.Module, cut: Collection[str] = (), project: Projection | None = None):
        zeros = {id(model.get_parameter(name)) for name in cut}
        self._named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point()]
        self._left = [_left(p) if id(p) in zeros else None for _, p in self._named]
        self._project = project
        dtype = torch.float64 if any(p.dtype == torch.float64 for _, p in self._named) else torch.float32
        parts = [_pick(p.detach(), left).to(dtype) for left, (_, p) in zip(self._left, self._named, strict=True)]
        self._sizes = [len(part) for part in parts]
        self.values = _leaf(torch.cat(parts) if parts else torch.zeros(0, dtype=dtype, device=device_of(model)))

    @torch.no_grad()
    def gather(self) -> None:
        """Move the gradients of the parameters into that of the vector; a parameter that got none has zeros."""
        assert self.values.grad is not None
        parts = self.values.grad.split(self._sizes)  # type: ignore[no-untyped-call]
        for part, left, (_, parameter) in zip(parts, self._left, self._named, strict=True):
            if parameter.grad is None:
                part.zero_()
                continue
            gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            part.copy_(_pick(gradient, left))
            parameter.grad = None

    @torch.no_grad()
    def write(self) -> None:
        """Give the network the values of the vector."""
        parts = self.values.detach().split(self._sizes)  # type: ignore[no-untyped-call]
        for part, left, (name, parameter) in zip(parts, self._left, self._named, strict=True):
            if self._project is not None:
                whole = part.view(parameter.shape) if left is None else _spread(part, left, parameter)
                parameter.copy_(self._project(name, whole))
            elif left is None:
                parameter.copy_(part.view(parameter.shape))
            elif parameter.is_contiguous():
                parameter.view(-1)[left] = part.to(parameter.dtype)
            else:
                parameter.copy_(_spread(part, left, parameter))

    @torch.no_grad()
    def thin(self, keeps: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Leave out more weights, which become zero; the optimizer keeps its state for those that stay.

        ``keeps`` says what stays of some cut parameters: bool, in their shapes.
        """
        stays, left = list[Tensor](), list[Tensor | None]()
        for size, places, (name, parameter) in zip(self._sizes, self._left, self._named, strict=True):
            if places is None or name not in keeps:
                stays.append(torch.ones(size, dtype=torch.bool, device=self.values.device))
                left.append(places)
                continue
            keep = keeps[name].to(places.device)
            stays.append(keep.flatten()[places])
            left.append(places[stays[-1]])
            parameter.masked_fill_(~keep.to(parameter.device), 0)
        mask, old = torch.cat(stays), self.values
        self.values, self._left = _leaf(old.detach()[mask]), left
        self._sizes = [int(part.sum()) for part in stays]
        state = optimizer.state.pop(old, {})
        optimizer.state[self.values] = {name: value[mask] if isinstance(value, Tensor) and value.shape == old.shape
                                        else value for name, value in state.items()}
        optimizer.param_groups[0]["params"] = [self.values]


def _leaf(values: Tensor) -> Tensor:
    """Values to learn, with gradients of zero."""
    values.requires_grad_(True)
    values.grad = torch.zeros_like(values)
    return values


def _left(parameter: Tensor) -> Tensor:
    """The places of what is not zero, int64 ``(left,)``."""
    return parameter.detach().flatten().nonzero().squeeze(1)


def _pick(values: Tensor, places: Tensor | None) -> Tensor:
    return values.flatten() if places is None else values.flatten()[places]


def _spread(part: Tensor, places: Tensor, like: Tensor) -> Tensor:
    whole = torch.zeros(like.numel(), dtype=part.dtype, device=part.device)
    whole[places] = part
    return whole.view(like.shape)
