"""``torch.save`` of what a cut returns: what is loaded computes the same to the last bit, and can be cut again."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.models.loaders._rebuild_layers import rebuild_layers
from secateur.pruning.history import NAME


class Written(nn.Module):
    """Units whose number the code names, with whatever comes after them."""

    def __init__(self, after: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.after = nn.Linear(6, 12), nn.Linear(12, 3), after
        self.register_buffer("steps", torch.arange(32.0))
        self.lstm = nn.LSTM(12, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Twelve units are taken apart and put together again."""
        return self.b(self.after(self, torch.relu(self.a(x)).view(*x.shape[:2], 3, 4).flatten(2)))  # type: ignore[no-any-return]


def without_gradient(_: Written, h: Tensor) -> Tensor:
    with torch.no_grad():
        mean = h.mean(-1, keepdim=True)
    return h - mean


def in_bfloat16(net: Written, h: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.linear(h, net.lstm.weight_hh_l0[:12]).float()


# torch's own pickle of a graph with the second one cannot be loaded.
AFTER: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "nothing": lambda _, h: h,
    "a recurrent layer": lambda net, h: net.lstm(h)[0],
    "as many steps as the input has": lambda net, h: h + net.steps[:h.shape[1]].view(1, -1, 1) / h.shape[1],
    "a mask": lambda _, h: F.scaled_dot_product_attention(h, h, h, is_causal=True, scale=0.3),
    "no gradient": without_gradient,
    "another precision": in_bfloat16,
}


def save_and_load(net: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)  # type: ignore[no-any-return]


def check(small: nn.Module, x: Tensor) -> None:
    loaded = save_and_load(small)
    assert type(loaded).__name__ == type(small).__name__
    assert list(loaded.state_dict()) == list(small.state_dict())
    assert torch.equal(loaded(x), small(x))
    assert torch.equal(copy.deepcopy(loaded)(x), small(x))
    assert torch.equal(save_and_load(loaded)(x), small(x))
    again = [sc.prune(net, 0.5, granularity="neuron", example=x) for net in (small, loaded)]
    assert torch.equal(again[0](x), again[1](x))


@pytest.mark.filterwarnings("ignore::secateur.core.errors.CutGraphWarning")
@pytest.mark.parametrize("after", AFTER)
def test_a_cut_graph_is_loaded_as_it_was_saved(after: str) -> None:
    torch.manual_seed(0)
    net, x = Written(AFTER[after]).eval(), torch.randn(2, 5, 6)
    net.after = AFTER[after]
    small: Any = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert isinstance(small, ExportedNetwork)
    check(small, x)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layers": (lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)), (2, 6)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                                           nn.Linear(8 * 16, 3)), (2, 3, 6, 6)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_its_own_class_is_loaded_as_it_was_saved(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODULES[name]
    x = torch.randn(shape)
    check(sc.prune(make().eval(), 0.5, granularity="neuron", example=x), x)


def test_an_exported_program_made_of_layers_is_loaded_as_it_was_saved() -> None:
    """With the record of what was cut of it."""
    torch.manual_seed(0)
    net, x = Written(AFTER["a recurrent layer"]).eval(), torch.randn(2, 5, 6)
    program = torch.export.export(net, (x,))
    small = sc.prune(rebuild_layers(program)[0], 0.5, skip=["b"])
    vars(small)[NAME] = ("a step",)
    loaded = save_and_load(small)
    assert torch.equal(loaded(x), small(x))
    assert vars(loaded)[NAME] == ("a step",)
