"""What is left of a network's weights as one vector: the optimizer keeps its state for these alone."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from secateur.core.modules import device_of

Projection = Callable[[str, Tensor], Tensor]
"""From a parameter's name and the values learned for it, in its shape, to what the network is given: the same values,
or these rounded. Gradients pass it as they are (Bengio, Léonard and Courville, 2013: straight through)."""
_DENSE = 0.5
"""Above this fraction left it is faster to keep the zeros in the vector, too."""


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
        self._gone = [None if left is None or len(left) <= _DENSE * p.numel() else p.detach() == 0
                      for left, (_, p) in zip(self._left, self._named, strict=True)]
        self._left = [None if gone is not None else left for left, gone in zip(self._left, self._gone, strict=True)]
        self._project = project
        dtype = torch.float64 if any(p.dtype == torch.float64 for _, p in self._named) else torch.float32
        parts = [_pick(p.detach(), left).to(dtype) for left, (_, p) in zip(self._left, self._named, strict=True)]
        self._sizes = [len(part) for part in parts]
        self.values = torch.cat(parts) if parts else torch.zeros(0, dtype=dtype, device=device_of(model))
        self.values.requires_grad_(True)
        self.values.grad = torch.zeros_like(self.values)

    @torch.no_grad()
    def gather(self) -> None:
        """Move the gradients of the parameters into that of the vector; a parameter that got none has zeros."""
        assert self.values.grad is not None
        parts = self.values.grad.split(self._sizes)  # type: ignore[no-untyped-call]
        for part, left, gone, (_, parameter) in zip(parts, self._left, self._gone, self._named, strict=True):
            if parameter.grad is None:
                part.zero_()
                continue
            gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            part.copy_(_pick(gradient, left))
            if gone is not None:
                part.masked_fill_(gone.flatten(), 0)
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


def _left(parameter: Tensor) -> Tensor:
    """The places of what is not zero, int64 ``(left,)``."""
    return parameter.detach().flatten().nonzero().squeeze(1)


def _pick(values: Tensor, places: Tensor | None) -> Tensor:
    return values.flatten() if places is None else values.flatten()[places]


def _spread(part: Tensor, places: Tensor, like: Tensor) -> Tensor:
    whole = torch.zeros(like.numel(), dtype=part.dtype, device=part.device)
    whole[places] = part
    return whole.view(like.shape)
