"""Tables of positions of which the example reads the first rows only: a longer input needs the others."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.graph import trace

ROWS, WIDTH, SHORT = 48, 8, 6

READS: dict[str, tuple[int, Callable[[Tensor, int], Tensor]]] = {
    "sliced": (0, lambda table, n: table[:n]),
    "sliced and given an axis": (0, lambda table, n: table[:n].unsqueeze(0)),
    "narrowed": (0, lambda table, n: table.narrow(0, 0, n)),
    "split": (0, lambda table, n: table.split([n, len(table) - n])[0]),
    "the last rows": (0, lambda table, n: table[-n:]),
    "scaled, then sliced": (0, lambda table, n: (2 * table)[:n]),
    "along the last axis": (1, lambda table, n: table[..., :n].T),
}


class Sentences(nn.Module):
    """Words and positions, and a branch of twelve units whose outputs are added."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.axis, self.read = READS[way]
        self.words = nn.Embedding(20, WIDTH)
        self.table = nn.Parameter(torch.randn((ROWS, WIDTH) if self.axis == 0 else (WIDTH, ROWS)))
        self.a, self.b, self.out = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, words: Tensor) -> Tensor:
        """A row for every word."""
        x = self.words(words) + self.read(self.table, words.shape[1])
        return self.out(x + self.b(torch.relu(self.a(x))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", READS)
def test_positions_that_the_example_does_not_reach_stay(way: str) -> None:
    """The cut network at every length is the original with the rows of ``a`` that went at zero."""
    torch.manual_seed(0)
    net = Sentences(way).eval()
    short = torch.randint(20, (2, SHORT))
    plan = sc.plan(net, 0.5, granularity="neuron", skip=["words"], example=short)
    small, zeroed = sc.apply(net, plan), copy.deepcopy(net)
    assert small.table.shape == net.table.shape
    (cut,) = (c for c in plan.cuts if c.name == "a")
    assert cut.removed == 6
    with torch.no_grad():
        zeroed.a.weight[~cut.keep], zeroed.a.bias[~cut.keep] = 0, 0
        for length in (SHORT, SHORT + 5, ROWS):
            words = torch.randint(20, (3, length))
            torch.testing.assert_close(small(words), zeroed(words))


def test_the_reason_is_said() -> None:
    """Rows 6 to 47 of the table are a group of their own, which stays."""
    net = Sentences("sliced").eval()
    (group,) = (g for g in trace(net, torch.randint(20, (2, SHORT))).groups if g.units == ROWS - SHORT)
    assert "positions that this example does not reach" in group.reason
    assert "table[0] (6-47)" in str(group)


def test_a_stored_tensor_that_is_read_in_two_slices_is_cut() -> None:
    """What one slice leaves out, another reads: both halves of a packed projection are free."""
    torch.manual_seed(0)

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.out = nn.Parameter(torch.randn(16, 5)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            gate, value = x @ self.weight[:8].T, x @ self.weight[8:].T
            return self.out(torch.sigmoid(gate) * value)  # type: ignore[no-any-return]

    (group,) = (g for g in trace(Packed().eval(), torch.randn(2, 5)).groups if g.cuttable)
    assert group.units == 8 and "weight[0] (0-15)" in str(group)
