"""One operator at a time between two layers: cut, proved and equal to the zeroed original, or named as the reason."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import Wrap
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork

INDEX = torch.tensor([0, 2, 1, 4, 3])
WIDE = {"glu": 6, "glu-of-another-axis": 6, "repeat": 24, "tile": 24, "repeat-interleave": 24, "max-of-pairs": 6}
# name -> what stands between Linear(6, 12) and Linear(., 3); hidden (2, 5, 12). Zeroed units change nothing else here.
ZEROED = {
    "glu": lambda h: F.glu(h, -1), "glu-of-another-axis": lambda h: F.glu(h.transpose(1, 2), 1).transpose(1, 2),
    "repeat": lambda h: h.repeat(1, 1, 2), "tile": lambda h: h.tile((2,)),
    "repeat-interleave": lambda h: h.repeat_interleave(2, -1), "roll": lambda h: h.roll(1, 1),
    "cumsum": lambda h: h.cumsum(1), "cumprod": lambda h: h.cumprod(1),
    "trapezoid": lambda h: torch.trapezoid(h, dim=1),
    "norm": lambda h: h / h.norm(dim=-1, keepdim=True), "norm-3": lambda h: h / h.norm(p=3, dim=-1, keepdim=True),
    "cosine": lambda h: h * F.cosine_similarity(h[:, :1], h, dim=-1)[..., None],
    "distance": lambda h: h * F.pairwise_distance(h, h[:, :1].expand_as(h), eps=0, keepdim=True),
    "product-along-another-axis": lambda h: h.prod(1), "sort": lambda h: h.sort(1)[0],
    "best": lambda h: h.topk(2, 1)[0],
    "max-along-another-axis": lambda h: h.max(1)[0], "absolute-max": lambda h: h / h.abs().max(),
    "argmax-along-another-axis": lambda h: h * h.argmax(1, keepdim=True),
    "gather": lambda h: h.take_along_dim(INDEX[None, :, None], 1), "select": lambda h: h.index_select(1, INDEX),
    "scatter": lambda h: torch.zeros_like(h).scatter(1, INDEX[None, :, None].expand_as(h), h),
    "index-add": lambda h: torch.zeros_like(h[:, :3]).index_add(1, INDEX % 3, h),
    "index-copy": lambda h: torch.zeros_like(h).index_copy(1, INDEX, h),
    "index-fill": lambda h: h.index_fill(1, INDEX[:2], 0),
    "mask-set": lambda h: h.clone().masked_fill_(h > 0, 0.0),
    "select-scatter": lambda h: h.select_scatter(h[:, 0], 1, 2),
    "slice-scatter": lambda h: h.slice_scatter(h[:, :2], 1, 2, 4),
    "fourier": lambda h: torch.fft.fft(h, dim=1).real, "fourier-and-back": lambda h: torch.fft.irfft(
        torch.fft.rfft(h, dim=1), n=5, dim=1), "complex": lambda h: (torch.complex(h, h) * 1j).real,
    "tensordot": lambda h: torch.tensordot(h, torch.ones(5, 5), ([1], [0])).transpose(1, 2),
    "turned": lambda h: torch.rot90(h, 1, (0, 1)), "at-least": lambda h: torch.atleast_3d(h),
    "einsum-ellipsis": lambda h: torch.einsum("...lc,lk->...kc", h, torch.ones(5, 5)),
    "upsampled": lambda h: F.interpolate(h.transpose(1, 2), scale_factor=2, mode="nearest-exact").transpose(1, 2),
}


def where_negative(h):
    h = h.clone()
    h[h < 0] = 0.0
    return h


# as above, where the statistics of the units that stay are others than those with zeros among them
STATISTICS = {
    "mask-written": where_negative, "product": lambda h: h * (h * 3).prod(-1, keepdim=True),
    "norm-of-the-least": lambda h: h / h.norm(p=-float("inf"), dim=-1, keepdim=True),
    "norm-minus-1": lambda h: h / h.norm(p=-1, dim=-1, keepdim=True), "max": lambda h: h - h.max(-1, keepdim=True)[0],
    "max-of-all": lambda h: h / h.max(), "both-extremes": lambda h: h - torch.aminmax(h - 9, dim=-1, keepdim=True)[1],
    "mean-but-nan": lambda h: h - h.nanmean(-1, keepdim=True),
    "all": lambda h: h * (h < 99).all(-1, keepdim=True),
    "max-of-pairs": lambda h: h.unflatten(-1, (-1, 2)).max(-1)[0],
}
REFUSED = {
    "roll": lambda h: h.roll(1, -1), "cumsum": lambda h: h.cumsum(-1), "sort": lambda h: h.sort(-1)[0],
    "argmax": lambda h: h * h.argmax(-1, keepdim=True), "median": lambda h: h - h.median(-1, keepdim=True)[0],
    "fft_rfft": lambda h: torch.fft.irfft(torch.fft.rfft(h, dim=-1), n=12, dim=-1),
    "tril": lambda h: h @ torch.ones(12, 12).mul(h[0, 0]).tril(),
    "linalg_matrix_exp": lambda h: torch.linalg.matrix_exp(
        h.view(2, 5, 4, 3)[..., :3, :]).flatten(-2).repeat(1, 1, 2)[..., :12],
}


def between(function, width=12):
    torch.manual_seed(0)
    return Wrap(lambda m, x: m.two(function(m.one(x))), one=nn.Linear(6, 12), two=nn.Linear(width, 3)).eval()


def zeroed(net, plan):
    """The original with the rows of the removed units of its first layer at zero."""
    net, (cut,) = copy.deepcopy(net), plan.cuts
    made = next(m for m in cut.group.members if m.tensor == "one.weight")
    gone = made.positions()[~cut.keep].flatten()
    with torch.no_grad():
        net.one.weight[gone], net.one.bias[gone] = 0, 0
    return net


@pytest.mark.parametrize("name", [*ZEROED, *STATISTICS])
def test_an_operator_lets_the_units_through(name):
    net, x = between((ZEROED | STATISTICS)[name], WIDE.get(name, 12)), torch.randn(2, 5, 6)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan)
    assert small.one.out_features == 6
    assert not isinstance(small, ExportedNetwork)
    if name in ZEROED:
        assert torch.allclose(small(x), zeroed(net, plan)(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_that_depends_on_positions_is_the_reason(name):
    with pytest.raises(sc.SecateurError, match=f"nothing to cut.*{name}"):
        sc.plan(between(REFUSED[name]), 0.5, granularity="neuron", example=torch.randn(2, 5, 6))


def test_a_wrong_product_of_the_masked_original_would_be_seen():
    net, x = between(STATISTICS["product"]), torch.randn(2, 5, 6)
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    hidden = small.one(x)
    assert torch.allclose(small(x), small.two(hidden * (hidden * 3).prod(-1, keepdim=True)))
    assert small(x).sub(small.two.bias).abs().max() > 0


class Steps(nn.Module):
    """Cells in a loop over time, the second fed by the first."""

    def __init__(self, kind, **options):
        super().__init__()
        self.hidden, self.second = 10, 8
        self.embed = nn.Linear(6, 12)
        self.cell, self.next = kind(12, 10, **options), kind(10, 8, **options)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        x, outs = self.embed(x), []
        one, two = (x.new_zeros(len(x), n) for n in (self.hidden, self.second))
        if isinstance(self.cell, nn.LSTMCell):
            one, two = (one, one), (two, two)
        for t in range(x.shape[1]):
            one = self.cell(x[:, t], one)
            two = self.next(one[0] if isinstance(one, tuple) else one, two)
            outs.append(two[0] if isinstance(two, tuple) else two)
        return self.out(torch.stack(outs, 1))


@pytest.mark.parametrize(("kind", "options"), [(nn.LSTMCell, {}), (nn.GRUCell, {}), (nn.RNNCell, {"bias": False}),
                                               (nn.RNNCell, {"nonlinearity": "relu"})])
def test_cells_in_a_loop_lose_units_and_stay_of_their_class(kind, options):
    torch.manual_seed(0)
    net, x = Steps(kind, **options).eval(), torch.randn(2, 4, 6)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    assert {c.group.unit for c in plan.cuts if c.name != "embed"} == {"unit"}
    small = sc.apply(net, plan)
    assert type(small) is Steps
    assert (small.cell.hidden_size, small.next.input_size, small.next.hidden_size) == (5, 5, 4)
    gone = copy.deepcopy(net)
    with torch.no_grad():
        for cut in plan.cuts:
            for m in cut.group.members:
                gone.get_parameter(m.tensor).index_fill_(m.axis, m.positions()[~cut.keep].flatten(), 0)
    y = torch.randn(5, 7, 6)
    assert torch.allclose(small(y), gone(y), atol=1e-5)
    again = sc.prune(small, 0.5, granularity="neuron", example=x)
    assert again.cell.hidden_size == 3 or again.cell.hidden_size == 2


def test_a_cell_without_a_state_makes_one_of_its_new_size():
    net = Wrap(lambda m, x: m.out(m.cell(x)[0]), cell=nn.LSTMCell(6, 10), out=nn.Linear(10, 3)).eval()
    small = sc.prune(net, 0.5, granularity="neuron", example=torch.randn(2, 6))
    assert small.cell.weight_hh.shape == (20, 5)
    assert small(torch.randn(3, 6)).shape == (3, 3)


@pytest.mark.parametrize(("groups", "left"), [(2, (2, 4)), (4, (2, 4))])
def test_shuffled_channels_are_cut_whole(groups, left):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ChannelShuffle(groups), nn.Conv2d(8, 2, 1)).eval()
    x = torch.randn(2, 3, 6, 6)
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert (small[1].groups, small[0].out_channels) == left


def test_heads_turned_by_complex_numbers_go_whole():
    class Turned(nn.Module):
        """Rotary positions as the first llama code writes them."""

        def __init__(self):
            super().__init__()
            self.q, self.o = nn.Linear(6, 16), nn.Linear(16, 3)
            self.register_buffer("turn", torch.polar(torch.ones(5, 2), torch.rand(5, 2)), persistent=False)

        def forward(self, x):
            pairs = torch.view_as_complex(self.q(x).view(*x.shape[:2], -1, 4).reshape(*x.shape[:2], -1, 2, 2))
            return self.o(torch.view_as_real(pairs * self.turn[:, None]).flatten(3).flatten(2))

    net, x = Turned().eval(), torch.randn(2, 5, 6)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    assert [c.group.unit for c in plan.cuts] == ["head"]
    assert sc.apply(net, plan).q.out_features == 8
