"""What a plan could not carry out of a default or a setting is named in its notes, with the layer and the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.core.errors import LeftOutWarning, OutputLayerWarning
from secateur.pruning.scopes.erk import Erk
from secateur.pruning.scopes.layer import Layer
from secateur.pruning.scopes.owl import Owl
from secateur.pruning.scopes.sensitivity import Sensitivity

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 3))


class Own(nn.Module):
    """A layer of someone's own: a matrix that is no ``nn.Linear``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T


class Odd(nn.Module):
    """An operator without a rule between two layers; one layer is never called, and a table is longer than inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(8, 10), nn.Linear(10, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.idle = nn.Linear(4, 4)
        self.places = nn.Parameter(torch.randn(64))

    def forward(self, x: Tensor) -> Tensor:
        h = self.b(torch.relu(self.a(x + self.places[:8])))
        return self.d(self.c(torch.linalg.qr(h.view(-1, 3, 2))[0].reshape(-1, 6)))  # type: ignore[no-any-return]


def notes(model: nn.Module, sparsity: float | None = 0.5, **settings: Any) -> tuple[str, ...]:
    return sc.plan(model, sparsity, **settings).notes


def neurons(model: nn.Module, **settings: Any) -> tuple[str, ...]:
    return notes(model, granularity=settings.pop("granularity", "neuron"), example=X[:2], **settings)


def test_nothing_is_said_of_what_was_carried_out() -> None:
    assert notes(mlp()) == notes(mlp(), data=X) == neurons(mlp()) == ()
    assert notes(mlp(), skip=["0"], layers={"2": 0.3}) == ()
    assert neurons(mlp(), skip=["0", "4"], layers={"2": 0.3}) == ()


@pytest.mark.parametrize("scope", [Erk, Sensitivity, Owl])
def test_an_allocation_that_bounds_keep_from_its_sum_says_so(scope: Any) -> None:
    # 80 + 60 weights: 126 of them at 90%, at most 70 at half of each; 14 at 10%, at least 70.
    assert "asked to remove 126 of 140, removed 70: the bounds of the layers allow no more" in notes(
        mlp(), 0.9, scope=scope(max_sparsity=0.5), data=X)
    assert "asked to remove 14 of 140, removed 70: the layers' min_sparsity requires more" in notes(
        mlp(), 0.1, scope=scope(min_sparsity=0.5), data=X)
    assert not notes(mlp(), 0.5, scope=scope(max_sparsity=0.9), data=X)


def test_bounds_that_n_m_overrules_are_told() -> None:
    net = nn.Sequential(nn.Linear(8, 10), nn.Linear(10, 3))
    assert notes(net, None, granularity="2:4", layers={"0": {"max_sparsity": 0.3}}) == (
        "0.weight: 40 of 80 removed, because 2:4 requires it; max_sparsity=0.3 has no effect",)
    assert notes(net, None, granularity="2:4", scope=Layer(min_sparsity=0.75)) == (
        "0.weight: 40 of 80 removed, because 2:4 requires it; min_sparsity=0.75 has no effect",)
    assert not notes(net, None, granularity="2:4", scope=Layer(max_sparsity=0.75))


def test_rounding_is_told_of_every_layer_that_loses_fewer() -> None:
    # Of 10 units 5 would go; 5 left are rounded up to 8, so that 2 go. Of 6 none can go.
    assert neurons(mlp(), granularity=sc.Neuron(round_to=8)) == (
        "0: 2 of 10 neurons removed, not 5, so that a multiple of 8 is left",
        "2: nothing removed, because of round_to=8: all 6 are left")
    assert not neurons(mlp(), granularity=sc.Neuron(round_to=1))


def test_units_of_recurrent_layers_are_rounded_and_heads_are_told() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.GRU(8, 10, batch_first=True), nn.Linear(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.cell(x)[0])  # type: ignore[no-any-return]

    example = torch.randn(2, 5, 8)
    small = sc.prune(Recurrent(), 0.5, granularity=sc.Neuron(round_to=4), example=example)
    assert small.get_submodule("cell").hidden_size == 8
    heads = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    told = notes(heads, granularity=sc.Neuron(round_to=4), example=torch.randn(2, 5, 16))
    assert "self_attn: 2 of 4 heads are left; round_to=4 does not apply to heads" in told


def test_neurons_that_cannot_go_are_told_by_layer_and_reason() -> None:
    told = neurons(Odd())
    assert any(note.startswith("b: stays whole (an operator without a rule at linalg_qr") for note in told)
    assert "idle: stays whole (it is not used for this example, in evaluation mode)" in told
    assert "places: stays whole (positions that this example does not reach; a longer input may)" in told
    assert not any(note.startswith(("a", "c", "d")) for note in told)
    assert not any("b: stays" in note for note in neurons(Odd(), skip=["b"]))


def test_weights_of_layers_of_ones_own_are_told() -> None:
    net = nn.Sequential(Own(8, 10), nn.ReLU(), nn.Linear(10, 6, bias=False), nn.Linear(6, 3, bias=False))
    told = "0.matrix: stays whole, 50.6% of the parameters; only weights of linear"  # 80 of 80 + 60 + 18
    assert [note.startswith(told) for note in notes(net)] == [True]
    assert not [note for note in notes(net, skip=["0"]) if "0.matrix" in note]
    heads = nn.TransformerEncoderLayer(16, 4, 20, batch_first=True)
    assert any(note.startswith("self_attn.in_proj_weight: stays whole, ") for note in notes(heads, skip=()))
    with pytest.raises(sc.SecateurError, match=r"nothing to cut.*0\.matrix: stays whole"):
        sc.plan(nn.Sequential(Own(8, 10), nn.Linear(10, 3)), 0.5)


def test_a_weight_in_a_buffer_is_told() -> None:
    net = mlp()
    weight = net[0].weight.detach()
    del net[0].weight
    net[0].register_buffer("weight", weight)
    assert notes(net) == ("0: stays whole, because the weight is a buffer, not a parameter",)


class BufferAtTheTop(nn.Module):
    """A basis in a buffer of the network itself, beside a table of its own that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 12), nn.Linear(10, 3)
        self.register_buffer("basis", torch.randn(12, 12))
        self.free = nn.Parameter(torch.randn(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)) @ self.basis @ self.free)  # type: ignore[no-any-return]


def test_a_buffer_of_the_network_itself_is_named_and_keeps_nothing_beside_it() -> None:
    plan = sc.plan(BufferAtTheTop(), 0.5, granularity="neuron", example=X[:2])
    assert [cut.name for cut in plan.cuts] == ["first", "free"]
    assert plan.notes == ("frozen layers (requires_grad=False) stay whole: basis; skip=() prunes them too",)


@pytest.mark.parametrize("settings", [{"layers": {"1": 0.2}}, {"skip": ["1"]}])
def test_names_of_what_has_nothing_to_cut_are_told(settings: dict[str, Any]) -> None:
    (argument,) = settings
    told = (f"{argument}: '1' has no effect, because nothing in it can be pruned",)
    assert notes(mlp(), **settings) == neurons(mlp(), **settings) == told


def test_settings_of_layers_that_stay_are_told() -> None:
    said = {"layers": {"2": 0.3}}
    decides = "its settings in layers= have no effect"
    assert notes(mlp(), skip=["2"], **said) == (f"2: stays whole, because skip names it; {decides}",)
    frozen = mlp()
    frozen[2].requires_grad_(False)
    assert f"2: stays whole, because it is frozen (skip=() prunes it too); {decides}" in notes(frozen, **said)
    assert neurons(mlp(), layers={"4": 0.3}) == (
        f"4: stays whole, because it reaches the network's output; {decides}",)
    assert not notes(mlp(), skip=["2"], layers={"2": {"skip": True}})


def test_a_layer_that_shares_the_output_s_weight_is_told() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[4].weight = net[0].weight
    told = ("0, 4: stay whole, because they share a weight and one of them makes an output; skip=() prunes them too",)
    assert notes(net) == notes(net, example=X[:1]) == told
    assert not notes(net, skip=())


def test_an_output_layer_that_is_not_known_is_a_note_too() -> None:
    with pytest.warns(OutputLayerWarning) as caught:
        (note,) = notes(Odd(), skip=["b"])
    assert str(caught[0].message) == note


def test_sparsity_0_leaves_a_layer_the_sparsity_of_its_own() -> None:
    plan = sc.plan(mlp(), 0, layers={"0": 0.5})
    assert [cut.removed for cut in plan.cuts] == [40, 0]
    plan = sc.plan(mlp(), 0, layers={"0": {"granularity": "2:4"}})
    assert [cut.removed for cut in plan.cuts] == [0, 0]
    assert plan.notes == ("0.weight: stays whole, because sparsity is 0; to prune only this layer, set its sparsity "
                          "to 0.5 in layers=",)


def test_a_recalibration_of_a_network_without_batch_norms_is_told() -> None:
    with pytest.warns(LeftOutWarning, match="recalibrate: no batch norm of the network has a running mean"):
        sc.prune(mlp(), 0.1, data=X, recovery="recalibrate")
