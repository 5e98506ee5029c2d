"""What ``prune`` returns is carried by every way of torch, and by our file, with the same outputs to the last bit."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import sweep
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import secateur as sc
from secateur.core import registry
from secateur.core.errors import CutGraphWarning
from secateur.core.tensors import tensors_in
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.models.loaders._rebuild_layers import rebuild_layers

X = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(96) % 3


def layers(norm: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Linear(16, 16),
                        nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 3))
    if norm:
        net[1].running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr, operator]
        net[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return net.eval()


class Written(nn.Module):
    """A size in the code, so that its cut graph is returned; a constant that is no state, and one that is."""

    def __init__(self, held: bool = False) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.register_buffer("scale", torch.rand(16), persistent=held)
        self.shift = torch.rand(1)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        hidden = torch.relu(self.one(x)).view(-1, 4, 4).flatten(1) * self.get_buffer("scale") + self.shift.to(x.dtype)
        return self.out(torch.relu(self.two(hidden)))  # type: ignore[no-any-return]


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.out = nn.Linear(16, 3)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        return self.out(torch.relu(self.two(torch.relu(self.one(self.first(x))))))  # type: ignore[no-any-return]


class Fickle(nn.Module):
    """A part that is traced by itself: what is around it takes a path by value."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.out = Written(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        hidden = self.part(x)
        return self.out(hidden * 2 if float(hidden.sum()) > 1e9 else hidden)  # type: ignore[no-any-return]


def made(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A function that gives the same network every time."""
    def again() -> nn.Module:
        torch.manual_seed(0)
        return make().eval()
    return again


def normed(norm: Callable[..., Any], *places: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = layers(norm=False)
        for place in places or (0, 3, 6):
            norm(net[place])
        return net
    return make


def in_train_mode() -> nn.Module:
    net = layers().train()
    net[1].eval()
    return net


class Twice(nn.Module):
    """A weight times two."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that is used."""
        return 2 * weight


NEURONS: dict[str, Any] = {"sparsity": 0.5, "granularity": "neuron", "example": X[:4]}
# How the original is made, and how it is cut.
RESULTS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    **{f"recovery {name}": (layers, {"sparsity": 0.5, "data": (X, LABELS), "recovery": name})
       for name in registry.allowed("recovery") if name != "rewind"},
    "recovery rewind": (layers, {"sparsity": 0.5, "data": X, "recovery": sc.Rewind(layers().state_dict())}),
    **{f"granularity {name}": (layers, {"granularity": name, "sparsity": 0.5 if ":" not in name else None,
                                        "example": X[:4]}) for name in ("weight", "neuron", "1x4", "4x1", "2:4")},
    "neurons, recovered": (layers, {**NEURONS, "data": X}),
    "a graph": (made(Written), NEURONS),
    "a graph, recovered": (made(Written), {**NEURONS, "data": X}),
    "a graph with a buffer in its state": (made(lambda: Written(True)), NEURONS),
    "weights of code with constants": (made(Written), {"sparsity": 0.5, "example": X[:4]}),
    "a graph in half precision": (made(lambda: Written().bfloat16()), {**NEURONS, "example": X[:4].bfloat16()}),
    "half precision": (lambda: layers().bfloat16(), {**NEURONS, "example": X[:4].bfloat16()}),
    "double precision": (lambda: layers().double(), {**NEURONS, "example": X[:4].double()}),
    "tied weights": (made(Tied), NEURONS),
    "tied weights, zeroed": (made(Tied), {"sparsity": 0.5, "data": X}),
    "train mode": (in_train_mode, NEURONS),
    "train mode, zeroed": (in_train_mode, {"sparsity": 0.5, "data": X}),
    "a part as a graph": (made(Fickle), {**NEURONS, "skip": ["out"]}),
    "weight norm of old": (normed(nn.utils.weight_norm), NEURONS),
    "spectral norm of old": (normed(nn.utils.spectral_norm), NEURONS),
    "weight norm": (normed(parametrizations.weight_norm), NEURONS),
    "spectral norm": (normed(parametrizations.spectral_norm), NEURONS),
    "a parametrization": (normed(lambda m: parametrize.register_parametrization(m, "weight", Twice()), 3), NEURONS),
    "layers of an exported program": (
        lambda: rebuild_layers(torch.export.export(made(Written)(), (X[:4],)))[0], {"sparsity": 0.5, "example": X[:4]}),
}


# A recovery returns a network of the class that it is given.
QUICK = sweep(RESULTS, lambda name: not name.startswith("recovery") or name == "recovery best")


def through_torch(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.save": through_torch, "pickle": lambda net: pickle.loads(pickle.dumps(net, 2)),
    "copy": copy.deepcopy, "torch.save of a copy of what was loaded": lambda net: through_torch(
        copy.deepcopy(through_torch(net)))}


def outputs(net: nn.Module, example: Any) -> list[Tensor]:
    """What a copy of a network gives, with the same random numbers every time."""
    torch.manual_seed(7)
    net = copy.deepcopy(net)
    with torch.no_grad():
        args = example if isinstance(example, tuple) else (example,)
        return tensors_in(net(**example) if isinstance(example, dict) else net(*args))


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def same(got: list[Tensor], want: list[Tensor]) -> bool:
    return len(got) == len(want) and all(torch.equal(g, w) for g, w in zip(got, want, strict=True))


def pruned(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """The original, what ``prune`` makes of it, and inputs of its type."""
    make, settings = RESULTS[name]
    net = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = sc.prune(net, **settings)
    return net, small, X[:6].to(next(net.parameters()).dtype)


@pytest.mark.parametrize("name", QUICK)
def test_every_kind_of_result(name: str) -> None:
    net, small, x = pruned(name)
    is_graph = any(isinstance(module, ExportedNetwork) for module in small.modules())
    assert is_graph == ("graph" in name)
    carried = 0
    for way, carry in WAYS.items():
        # torch refuses to pickle parametrized modules, cut or not.
        if parametrize.is_parametrized(net[3] if isinstance(net, nn.Sequential) else net) and way != "copy":
            with pytest.raises(RuntimeError, match="parametrized modules"):
                carry(small)
            continue
        back = carry(small)
        assert type(back).__name__ == type(small).__name__, way
        assert list(back.state_dict()) == list(small.state_dict()), way
        assert modes(back) == modes(small), way
        assert same(outputs(back, x), outputs(small, x)), way
        carried += 1
    assert carried


@pytest.mark.parametrize("name", QUICK)
def test_the_state_of_every_kind_of_result_fills_another_one_like_it(name: str) -> None:
    """The outputs are those before, where the state holds all that decides them; for that a copy is spoilt."""
    _, small, x = pruned(name)
    other = copy.deepcopy(small)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    state = io.BytesIO()
    torch.save(small.state_dict(), state)
    state.seek(0)
    other.load_state_dict(torch.load(state, weights_only=True))
    assert same(outputs(other, x), outputs(small, x))


@pytest.mark.parametrize("name", QUICK)
def test_the_file_of_every_kind_of_result(name: str, tmp_path: Any) -> None:
    """With the factory, and, in evaluation mode, by the graph in the file."""
    _, small, x = pruned(name)
    if name == "a part as a graph":
        with pytest.raises(sc.SecateurError, match="cannot be kept|was cut by itself"):
            sc.save(small, tmp_path / "net.safetensors", example=x)
        return
    back = sc.load(sc.save(small, tmp_path / "net.safetensors"), RESULTS[name][0])
    assert type(back).__name__ == type(small).__name__
    assert modes(back) == modes(small)
    assert same(outputs(back, x), outputs(small, x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutGraphWarning)
        still = copy.deepcopy(small).eval()
    graph = sc.load(sc.save(small, tmp_path / "graph.safetensors", example=x[:4]))
    for got, want in zip(outputs(graph, x[:4]), outputs(still, x[:4]), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5 if want.dtype != torch.bfloat16 else 2e-2, atol=1e-6)
