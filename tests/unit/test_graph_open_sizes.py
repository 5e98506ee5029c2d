"""Cut graphs of code with sizes written into it: other batches, other lengths, inputs in any order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork


class Fused(nn.Module):
    """Attention with packed projections, its sizes in attributes or written into the code, in two styles."""

    def __init__(self, written: bool, style: str) -> None:
        super().__init__()
        self.written, self.style = written, style
        self.n_head, self.head_dim, self.n_embd = 4, 6, 24
        self.c_attn, self.c_proj = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x):
        b, length, c = x.size()
        heads, size, width = (4, 6, 24) if self.written else (self.n_head, self.head_dim, self.n_embd)
        if self.style == "five axes":
            q, k, v = self.c_attn(x).view(b, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = self.c_attn(x).split(width, dim=2)
            q, k, v = (t.view(b, length, heads, c // heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return self.c_proj(y.reshape(b, length, heads * size if self.style == "five axes" else c))


class Language(nn.Module):
    def __init__(self, written: bool, style: str) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 24), nn.Embedding(16, 24)
        self.layers = nn.ModuleList(Fused(written, style) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(2))
        self.out = nn.Linear(24, 20)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x))
        return self.out(x)


def cut(net, example, **options):
    """A cut network, and the original with the removed units at zero in every parameter."""
    plan = sc.plan(net, 0.5, granularity="neuron", example=example, **options)
    small, gone = sc.apply(net, plan), copy.deepcopy(net)
    with torch.no_grad():
        for one in plan.cuts:
            for m in one.group.members:
                gone.get_parameter(m.tensor).index_fill_(m.axis, m.positions()[~one.keep].flatten(), 0)
    return small, gone


@pytest.mark.parametrize(("written", "style", "as_graph"), [
    (False, "five axes", False), (True, "five axes", True), (False, "three axes", True), (True, "three axes", True)])
def test_fused_attention_takes_other_batches_and_lengths_after_the_cut(written, style, as_graph):
    torch.manual_seed(0)
    net = Language(written, style).eval()
    small, gone = cut(net, torch.randint(0, 20, (2, 8)), skip=["words"])
    assert isinstance(small, ExportedNetwork) == as_graph
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    for batch, length in ((3, 8), (2, 5), (1, 16), (5, 1)):
        ids = torch.randint(0, 20, (batch, length))
        assert torch.allclose(small(ids), gone(ids), atol=1e-5)


def test_the_whole_width_goes_too_where_the_code_reads_it_from_the_input():
    torch.manual_seed(0)
    net = Language(False, "three axes").eval()
    small = sc.prune(net, 0.5, granularity="neuron", example=torch.randint(0, 20, (2, 8)))
    assert type(small) is Language
    assert small.layers[0].n_head == 2 and small(torch.randint(0, 20, (3, 5))).shape == (3, 5, 20)


class Parity(nn.Module):
    """Sizes in the code, and another path for an odd length."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x):
        hidden = torch.relu(self.one(x)).view(x.shape[0], -1, 3, 4)
        return self.two(hidden.view(x.shape[0], -1, 12) * (1.0 if x.shape[1] % 2 == 0 else -1.0))


def test_lengths_for_which_the_code_takes_another_path_are_refused():
    torch.manual_seed(0)
    net = Parity().eval()
    small, gone = cut(net, torch.randn(2, 8, 6))
    assert isinstance(small, ExportedNetwork)
    for shape in ((2, 8, 6), (3, 6, 6)):
        assert torch.allclose(small(x := torch.randn(shape)), gone(x), atol=1e-5)
    with pytest.raises(sc.SecateurError, match=r"got float32 \[2, 7, 6\], allowed: sizes with .* % 2") as caught:
        small(torch.randn(2, 7, 6))
    assert "\n" not in str(caught.value)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, pair, **more):
        a, b = self.one(pair["a"]).view(-1, 3, 4), self.two(pair["b"]).view(-1, 3, 4)
        return self.out((torch.tanh(a) * b * more["scale"] + more["shift"]).view(-1, 12))


def test_inputs_by_name_may_come_in_any_order():
    torch.manual_seed(0)
    net, (a, b) = Named().eval(), torch.randn(2, 3, 6)
    scale, shift = torch.tensor(2.0), torch.tensor(-1.0)
    small = sc.prune(net, 0.5, granularity="neuron", example={"shift": shift, "pair": {"b": b, "a": a}, "scale": scale})
    assert isinstance(small, ExportedNetwork)
    first = small({"a": a, "b": b}, scale=scale, shift=shift)
    assert torch.equal(first, small(shift=shift, scale=scale, pair={"b": b, "a": a}))
    assert not torch.equal(first, small({"a": b, "b": a}, scale=scale, shift=shift))
    with pytest.raises(sc.SecateurError, match="inputs, nested as in the example"):
        small({"a": a, "c": b}, scale=scale, shift=shift)
