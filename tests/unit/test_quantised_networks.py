"""Networks whose tensors hold codes in place of weights are refused in one line, by every granularity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def with_weight(change: Callable[[Tensor], Tensor]) -> nn.Module:
    net = plain()
    made = change(net[0].weight.detach())
    net[0].weight = made if isinstance(made, nn.Parameter) else nn.Parameter(made, requires_grad=False)
    return net


class Codes(nn.Module):
    """A linear layer of eight bits, its scale beside it."""

    def __init__(self, kind: type[nn.Parameter] | None, name: str) -> None:
        super().__init__()
        codes = torch.randint(-100, 100, (16, 8), dtype=torch.int8)
        if kind:
            self.register_parameter(name, kind(codes, requires_grad=False))
        else:
            self.register_buffer(name, codes)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """The product with what the codes stand for."""
        return x @ (getattr(self, self.name).float() / 100).T


class Packed(Tensor):
    """A tensor that keeps its numbers in another one, as those of torchao do."""

    @staticmethod
    def __new__(cls, held: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(cls, held.shape, dtype=torch.float32)

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].held)
        raise NotImplementedError(str(func))


def dynamic() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})  # type: ignore[no-any-return]


def trained_for_it() -> nn.Module:
    net = plain().train()
    net.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
    return torch.ao.quantization.prepare_qat(net).eval()  # type: ignore[no-any-return]


def observed() -> nn.Module:
    net = plain()
    net.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
    return torch.ao.quantization.prepare(net)  # type: ignore[no-any-return]


class PackedWhenMoved(nn.Parameter):
    """A parameter that becomes codes when it is moved, as those of bitsandbytes do; until then no copy can be made."""

    def to(self, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return (self.data * 10).to(torch.int8)

    def __deepcopy__(self, memo: Any) -> Any:
        raise AttributeError("no codes yet")


class Rounded(nn.Linear):
    """A layer that computes with a rounded weight, under the name that those of torchao have."""

    __module__ = "torchao.quantization.qat.linear"

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, torch.fake_quantize_per_tensor_affine(self.weight, 0.1, 0, -128, 127), self.bias)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "dynamic": (dynamic, "module '0' is a torch.ao.*prune first, then quantise"),
    "quantisation-aware training": (trained_for_it, "module '0' is a torch.ao.*prune first, then quantise"),
    "observers": (observed, "Observer.*prune first, then quantise"),
    "a parameter of int8": (lambda: nn.Sequential(Codes(nn.Parameter, "weight"), nn.Linear(16, 4)),
                            "'0.weight' holds int8.*prune first"),
    "a packed parameter": (lambda: nn.Sequential(Codes(nn.Parameter, "packed"), nn.Linear(16, 4)),
                           "'0.packed' holds int8.*prune first"),
    "a buffer of int8": (lambda: nn.Sequential(Codes(None, "qweight"), nn.Linear(16, 4)), "'0.qweight' holds int8"),
    "float8": (lambda: with_weight(lambda w: w.to(torch.float8_e4m3fn)), "'0.weight' holds float8_e4m3fn"),
    "sparse COO": (lambda: with_weight(lambda w: w.to_sparse()), "'0.weight' is sparse .sparse_coo.*to_dense"),
    "sparse CSR": (lambda: with_weight(lambda w: w.to_sparse_csr()), "'0.weight' is sparse .sparse_csr.*to_dense"),
    "packed when it is moved": (lambda: with_weight(PackedWhenMoved), "'0.weight' is a PackedWhenMoved, whose values"),
    "packed in bfloat16": (lambda: with_weight(lambda w: PackedWhenMoved(w.bfloat16())), "'0.weight' is a PackedWhen"),
    "quantisation-aware training of torchao": (lambda: nn.Sequential(Rounded(8, 16), nn.ReLU(), nn.Linear(16, 4)),
                                               "module '0' is a torchao.*prune first, then quantise"),
    "a tensor class": (lambda: with_weight(Packed), "'0.weight' is a Packed, whose values are stored"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("granularity", ["weight", "neuron", "1x4"])
@pytest.mark.parametrize("name", NETWORKS)
def test_codes_are_not_cut_as_if_they_were_weights(name: str, granularity: str) -> None:
    make, message = NETWORKS[name]
    net = make()
    with pytest.raises(sc.SecateurError, match=message) as caught:
        sc.prune(net, 0.5, granularity=granularity, example=torch.randn(5, 8))
    assert "\n" not in str(caught.value)


def test_whole_numbers_that_are_no_weights_are_left_alone() -> None:
    """Positions, a mask, the count of a batch norm, and bfloat16 weights."""
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)).eval()
    net.register_buffer("positions", torch.arange(8).view(2, 4))
    net.register_buffer("weight_mask", torch.ones(3, 3, dtype=torch.uint8))
    small = sc.prune(net.bfloat16(), 0.5, granularity="neuron", example=torch.randn(5, 8).bfloat16())
    assert small[0].out_features == 8
