"""What modules remember of their sizes after a cut: numbers that equal a cut size by chance stay as they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc


class StateSpace(nn.Module):
    """A selective state space (Mamba) with a ``step`` of its own, its window as long as its state is wide.

    ``forward`` reads ``d_state``; ``step`` reads ``d_conv`` too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.d_state, self.d_conv, self.d_inner, self.dt_rank = 4, 4, 12, 3
        self.inside, self.outside = nn.Linear(6, 24, bias=False), nn.Linear(12, 5, bias=False)
        self.conv = nn.Conv1d(12, 12, 4, groups=12, padding=3)
        self.x_proj, self.dt_proj = nn.Linear(12, 3 + 8, bias=False), nn.Linear(3, 12)
        self.log = nn.Parameter(torch.rand(12, 4))

    def _scan(self, x: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        dt, b, c = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], -1)
        dt = F.softplus(self.dt_proj(dt))[..., None]
        states = states * torch.exp(-dt * self.log.exp()) + dt * b[:, None] * x[..., None]
        return (states * c[:, None]).sum(-1), states

    def forward(self, x: Tensor) -> Tensor:
        """All steps at once."""
        x, gate = self.inside(x).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :x.shape[1]]).transpose(1, 2)
        states, found = x.new_zeros(len(x), *self.log.shape), []
        for step in range(x.shape[1]):
            y, states = self._scan(x[:, step], states)
            found.append(y)
        return self.outside(torch.stack(found, 1) * F.silu(gate))  # type: ignore[no-any-return]

    def step(self, x: Tensor, window: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step; ``window`` holds the last ``d_conv`` inputs of the convolution."""
        x, gate = self.inside(x).chunk(2, -1)
        window = torch.cat([window, x[..., None]], -1)[..., -self.d_conv:]
        x = F.silu((window * self.conv.weight[:, 0]).sum(-1) + self.conv.bias)
        y, states = self._scan(x, states)
        return self.outside(y * F.silu(gate)), window, states


def run_by_steps(net: StateSpace, x: Tensor) -> Tensor:
    window, states = torch.zeros(len(x), net.d_inner, net.d_conv), torch.zeros(len(x), *net.log.shape)
    found = []
    for step in range(x.shape[1]):
        y, window, states = net.step(x[:, step], window, states)
        found.append(y)
    return torch.stack(found, 1)


def test_steps_of_a_cut_state_space_are_its_forward() -> None:
    torch.manual_seed(0)
    net, x = StateSpace().eval(), torch.randn(2, 9, 6)
    torch.testing.assert_close(run_by_steps(net, x), net(x))
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert (small.d_state, small.d_conv, small.d_inner) == (2, 4, 6)
    torch.testing.assert_close(run_by_steps(small, x), small(x))


class Forecaster(nn.Module):
    """A window of sixteen values through sixteen units, whose number the code reads from ``hidden_size``."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size = self.hidden_size = self.max_seq_len = self.block_size = 16
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """The next four values."""
        return self.b(torch.relu(self.a(x[:, -16:])).view(-1, 2, self.hidden_size // 2).flatten(1))  # type: ignore[no-any-return]

    def windows(self, series: Tensor) -> Tensor:
        """The windows of a series, as its trainer cuts them."""
        return series.unfold(0, self.input_size, 1)


def test_a_window_as_long_as_the_units_are_many_stays() -> None:
    torch.manual_seed(0)
    net, x = Forecaster().eval(), torch.randn(3, 16)
    small, series = sc.prune(net, 0.5, granularity="neuron", example=x), torch.randn(20)
    assert small.hidden_size == 8
    assert (small.input_size, small.max_seq_len, small.block_size) == (16, 16, 16)
    assert small(small.windows(series)).shape == (5, 4)


class Attention(nn.Module):
    """Heads that are cut, between a width of the same number that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.all_head_size, self.hidden_size, self.dim, self.max_positions = 4, 32, 32, 32, 4
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))
        self.out = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        """Every word attends to every word."""
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2)
        return x + self.out(y.reshape(*x.shape[:2], self.all_head_size))  # type: ignore[no-any-return]


def test_a_width_that_stays_keeps_its_name() -> None:
    torch.manual_seed(0)
    net, x = Attention().eval(), torch.randn(2, 5, 32)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small, zeroed = sc.apply(net, plan), copy.deepcopy(net)
    assert (small.num_heads, small.all_head_size) == (2, 16)
    assert (small.hidden_size, small.dim, small.max_positions) == (32, 32, 4)
    (cut,) = plan.cuts
    with torch.no_grad():
        zeroed.out.weight[:, ~cut.keep.repeat_interleave(8)] = 0
    torch.testing.assert_close(small(x), zeroed(x))


@pytest.mark.parametrize(("width", "heads"), [(24, 4), (16, 2)])
def test_a_width_that_is_cut_is_known_by_its_name(width: int, heads: int) -> None:
    """The embedding and everything as wide as it: ``hidden_size`` says how wide that is now."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden_size, self.heads = width, heads
            self.words, self.qkv = nn.Embedding(30, width), nn.Linear(width, 3 * width)
            self.out, self.last = nn.Linear(width, width), nn.Linear(width, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.words(x) * (self.hidden_size ** 0.5) / (self.hidden_size ** 0.5)
            q, k, v = (t.reshape(*x.shape, self.heads, -1).transpose(1, 2) for t in self.qkv(h).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2).flatten(2)
            return self.last((h + self.out(y)).reshape(len(x), -1, self.hidden_size))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    small = sc.prune(Words().eval(), 0.5, granularity="neuron", example=torch.randint(30, (2, 5)))
    assert (small.hidden_size, small.heads) == (width // 2, heads // 2)
    assert small.words.embedding_dim == width // 2
