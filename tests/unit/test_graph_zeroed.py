"""Train mode and other batches of a cut network, beside the original's own code with the removed units at zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import secateur as sc
from secateur.pruning.apply import carry_out


class Paths(nn.Module):
    """A step more in train mode or for a large batch."""

    def __init__(self, kind: str, norm: nn.Module) -> None:
        super().__init__()
        self.kind, self.a, self.norm = kind, nn.Linear(8, 16), norm
        self.drop, self.b = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Two layers."""
        y = self.drop(torch.relu(self.norm(self.a(x))))
        if (self.kind == "training" and self.training) or (self.kind == "batch" and len(x) > 4):
            y = y * torch.arange(16.0)[:y.shape[1]].to(y)
        return self.b(y)  # type: ignore[no-any-return]


def _notes(net: nn.Module) -> tuple[str, ...]:
    return carry_out(net, sc.plan(net, 0.5, granularity="neuron", example=torch.rand(2, 8))).notes


def test_a_train_mode_that_differs_is_told() -> None:
    """The first numbers of a row as long as the units were are not those of the units that stay."""
    torch.manual_seed(0)
    net = Paths("training", nn.BatchNorm1d(16)).eval()
    assert any("in train mode the outputs differ by" in note for note in _notes(net))


def test_a_train_mode_that_is_right_is_not_mentioned() -> None:
    """Batch norm in train mode, dropout left out."""
    torch.manual_seed(0)
    assert not _notes(Paths("", nn.BatchNorm1d(16)).eval())


def test_spectral_norm_in_training_is_told() -> None:
    """A step of training takes the norm of what is left."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), parametrizations.spectral_norm(nn.Linear(16, 3))).eval()
    (note,) = _notes(net)
    assert "in train mode the outputs differ by" in note


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.LayerNorm(16)])
def test_another_path_for_another_batch(norm: Callable[[], nn.Module]) -> None:
    """What is right for a batch of two only is refused, and why; so is what no path lets go."""
    torch.manual_seed(0)
    net = Paths("batch", norm()).eval()
    with pytest.raises(sc.SecateurError, match="another path for a batch of 5; pass an example of each"):
        sc.prune(net, 0.5, granularity="neuron", example=torch.rand(2, 8))
    with pytest.raises(sc.SecateurError, match="nothing to cut"):
        sc.prune(net, 0.5, granularity="neuron", example=[torch.rand(2, 8), torch.rand(5, 8)])


class Squeezed(Paths):
    """Drops the batch where it is one."""

    def forward(self, x: Tensor) -> Tensor:
        """As before."""
        return super().forward(x).squeeze()


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.LayerNorm(16)])
def test_a_batch_of_one_may_be_squeezed(norm: Callable[[], nn.Module]) -> None:
    """Outputs of another shape for a batch of one are no other path."""
    small = sc.prune(Squeezed("", norm()).eval(), 0.5, granularity="neuron", example=torch.rand(2, 8))
    assert type(small) is Squeezed and small(torch.rand(1, 8)).shape == (3,)
