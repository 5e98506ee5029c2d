"""A study whose network has no layer that makes its outputs: what is frozen stays all the same, and rows say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.experiment.config import StudyConfig
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.prune import cut_network
from secateur.experiment.study import study
from secateur.pruning.output_layers import NONE

CONFIG = StudyConfig(model="test_study_whole_layers:net", data="support:blobs", uncut_bits=(),
                     sparsity=(0.0, 0.5), seeds=1, epochs=1,
                     granularity=("weight",), criterion=("magnitude",), latency_batches=(), best=False)


class Fixed(nn.Module):
    """A frozen layer, two that learn, and outputs that none of them makes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.basis = nn.Linear(16, 12).requires_grad_(False)
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 8)
        self.register_buffer("last", torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.b(torch.relu(self.a(self.basis(x.flatten(1))))))
        return torch.linalg.solve(self.last, h.T).T[:, :4]  # type: ignore[no-any-return]


def net() -> Fixed:
    return Fixed()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return study(config=CONFIG, out=tmp_path_factory.mktemp("study") / "run")


def cut(point: Any) -> set[str]:
    return {layer["name"] for layer in point["layers"] if layer["removed"]}


def test_a_frozen_layer_stays_and_the_rows_name_it(run: Any) -> None:
    whole, half = run.points
    assert cut(whole) == set()
    assert cut(half) == {"a.weight", "b.weight"}
    assert "frozen layers (requires_grad=False) stay whole: basis; skip=() prunes them too" in half.notes
    assert NONE in half.notes
    assert not whole.notes


def test_the_report_s_statistics_leave_it_out(run: Any) -> None:
    assert [layer["name"] for layer in run.weight_statistics[0]["layers"]] == ["a.weight", "b.weight"]


def test_only_an_empty_tuple_lets_it_go(tmp_path: Any) -> None:
    run = study(config=replace(CONFIG, skip=()), out=tmp_path / "run")
    assert cut(run.points[1]) == {"basis.weight", "a.weight", "b.weight"}
    assert NONE not in run.points[1].notes


def test_prune_leaves_it_whole_and_cuts_a_single_layer_at_sparsity_0(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"model": CONFIG.model, "data": CONFIG.data, "latency_batches": (), "recovery": "none"}
    done = cut_network(CutConfig(sparsity=0.5, out=str(tmp_path / "a.safetensors"), **settings))
    assert {c.name for c in done.plan.cuts if c.removed} == {"a.weight", "b.weight"}
    assert NONE in done.notes
    done = cut_network(CutConfig(sparsity=0.0, layers='{"b": 0.5}', out=str(tmp_path / "b.safetensors"), **settings))
    assert {c.name: c.removed for c in done.plan.cuts} == {"a.weight": 0, "b.weight": 48}


class Top(nn.Module):
    """A network that holds what makes its outputs itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(16, 12), nn.Linear(12, 8)
        self.head = nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.b(torch.relu(self.a(x.flatten(1))))) @ self.head  # type: ignore[no-any-return]


def test_outputs_that_the_network_itself_makes(tmp_path: Any) -> None:
    run = study(Top, config=replace(CONFIG, granularity=("weight", "neuron"), criterion=("magnitude", "l2")),
                out=tmp_path / "run")
    assert [cut(point) for point in run.points] == [set(), {"a.weight", "b.weight"}, set(), {"a", "b"}]
    plan = sc.plan(Top(), 0.5, example=torch.rand(1, 1, 4, 4))
    assert [c.name for c in plan.cuts] == ["a.weight", "b.weight"]
    with pytest.raises(sc.SecateurError, match="nothing to cut"):
        sc.plan(nn.Linear(4, 3), 0.5, example=torch.rand(1, 4))
