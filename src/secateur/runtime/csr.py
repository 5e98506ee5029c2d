"""The engine ``csr``, a baseline: linear layers with zeros as torch CSR products on feature-major activations.

``F.linear(x, W_csr)`` is several times slower than ``W_csr @ X``. So each sparse layer takes its input
feature-major and returns a transposed view of its feature-major output. Element-wise layers in between
keep the strides, and the next sparse layer finds its input in place. Convolutions and layers without
zeros stay dense.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.runtime.base import Compiled


class _CsrLinear(nn.Module):
    """A linear layer whose weight is stored as CSR; inputs ``(*, in)``, outputs ``(*, out)``."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.register_buffer("weight", _to_csr(layer.weight.detach()))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.out_features, self.in_features = layer.weight.shape
        self.nonzeros = int(torch.count_nonzero(layer.weight))

    def forward(self, x: Tensor) -> Tensor:
        """The product, bias added."""
        rows = x.reshape(-1, self.in_features)
        if rows.shape[0] == 0:
            return x.new_zeros(*x.shape[:-1], self.out_features)
        y = (self.weight @ rows.t().contiguous()).t()
        y = y if self.bias is None else y + self.bias
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.out_features)


class CsrNetwork(Compiled):
    """A copy of a network whose linear layers with zeros run as CSR products."""

    engine = "csr"

    def __init__(self, model: nn.Module, example: tuple[Any, ...]):
        super().__init__()
        del example
        self.network = _sparse_copy(model)

    def run(self, *inputs: Any) -> Any:
        """The network's outputs, contiguous as the dense network's are."""
        return pytree.tree_map_only(Tensor, Tensor.contiguous, self.network(*inputs))

    def explain(self) -> str:
        """One line a linear or convolutional layer: what it runs as, and its sparsity."""
        return "\n".join(_describe(name, module) for name, module in self.network.named_modules()
                         if isinstance(module, (_CsrLinear, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)))


def _describe(name: str, module: nn.Module) -> str:
    """What a layer runs as, in words."""
    label = name or "network"
    if isinstance(module, _CsrLinear):
        items = module.in_features * module.out_features
        return f"{label}: torch CSR, sparsity {1 - module.nonzeros / max(items, 1):.4f}, {module.nonzeros} non-zeros"
    kind = type(module).__name__
    return f"{label}: dense {kind}, " + ("no zeros" if kind == "Linear" else "torch has no sparse convolution")


def _to_csr(weight: Tensor) -> Tensor:
    """The weight as a CSR tensor with 32-bit indices, which MKL multiplies without converting them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Sparse CSR tensor support.*")
        csr = weight.to_sparse_csr()
        return torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(), csr.values(), weight.shape,
                                       check_invariants=True)


def _sparse_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, its linear layers with zeros replaced."""
    network = copy.deepcopy(model).eval().requires_grad_(False)
    if _has_zeros(network):
        return _CsrLinear(network)  # type: ignore[arg-type]
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if _has_zeros(child):
                setattr(parent, name, _CsrLinear(child))  # type: ignore[arg-type]
    return network


def _has_zeros(module: nn.Module) -> bool:
    """Whether a module is a plain linear layer with at least one zero weight."""
    return type(module) is nn.Linear and int(torch.count_nonzero(module.weight)) < module.weight.numel()
