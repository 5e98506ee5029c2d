"""Networks as people write them, each with something that once went wrong: cut, compared with the zeroed original."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.pruning.apply import carry_out


def halved(net, example):
    """A network without half of its units, and the original with these at zero in every parameter."""
    plan = sc.plan(net.eval(), 0.5, granularity="neuron", example=example)
    small, gone = sc.apply(net, plan), copy.deepcopy(net)
    stored = dict(gone.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for one in plan.cuts:
            for m in one.group.members:
                if m.tensor in stored:
                    stored[m.tensor].index_fill_(m.axis, m.positions()[~one.keep].flatten(), 0)
    return small, gone


class Routed(nn.Module):
    """A mixture whose experts are called in a loop on the tokens that chose them, as Mixtral's code does."""

    def __init__(self, experts: int = 3):
        super().__init__()
        self.router = nn.Linear(16, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16)) for _ in range(experts))

    def forward(self, x):
        shape, x = x.shape, x.reshape(-1, x.shape[-1])
        weights, chosen = torch.topk(self.router(x), 2, -1)
        weights, out = weights.softmax(-1), torch.zeros_like(x)
        mask = F.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            slot, token = torch.where(mask[number])
            out.index_add_(0, token, expert(x[token]) * weights[token, slot, None])
        return out.view(shape)


def test_experts_in_a_loop_lose_hidden_units_and_width():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), Routed(), nn.Linear(16, 3))
    small, gone = halved(net, torch.randn(2, 9, 6))
    assert type(small) is nn.Sequential
    assert [e[0].weight.shape for e in small[1].experts] == [(6, 8)] * 3
    x = torch.randn(4, 7, 6)
    assert torch.allclose(small(x), gone(x), atol=1e-5)


def test_an_expert_that_no_token_reaches_stays():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), Routed(4), nn.Linear(16, 3)).eval()
    with torch.no_grad():
        net[1].router.bias[3] = -1e4
    reasons = {g.name: g.reason for g in sc.targets(net, torch.randn(2, 9, 6)).groups}
    assert "the outputs do not depend on it" in reasons["1.experts.3.0"]
    assert reasons["1.experts.0.0"] == reasons["0"] == ""


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(20, 24), nn.Linear(24, 20)
        self.body = nn.Transformer(24, 4, 1, 1, 32, batch_first=True)

    def forward(self, a, b):
        mask = nn.Transformer.generate_square_subsequent_mask(b.size(1))
        return self.out(self.body(self.words(a), self.words(b), tgt_mask=mask))


def test_code_around_parts_may_read_attributes_of_theirs():
    torch.manual_seed(0)
    small, gone = halved(Translator(), (torch.randint(0, 20, (2, 6)), torch.randint(0, 20, (2, 5))))
    layer = small.body.encoder.layers[0]
    assert layer.self_attn.num_heads == 2 and layer.linear1.out_features == 16
    a, b = torch.randint(0, 20, (3, 4)), torch.randint(0, 20, (3, 7))
    assert torch.allclose(small(a, b), gone(a, b), atol=1e-5)


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_older_hooks_compute_keep_their_modules_whole(norm):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net, x = nn.Sequential(norm(nn.Linear(6, 8)), nn.ReLU(), norm(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 2)), \
            torch.randn(16, 6)
    sc.apply(net, sc.plan(net, 0.5, granularity="neuron", example=x))
    with torch.no_grad():
        net(x)
    small, _ = halved(net, x)
    assert [(m.in_features, m.out_features) for m in small if isinstance(m, nn.Linear)] == [(6, 4), (4, 4), (4, 2)]
    assert small[0].weight.dtype == torch.float32
    again, _ = halved(copy.deepcopy(small), x)
    assert again[0].out_features == 2 and again(torch.randn(5, 6)).shape == (5, 2)


class Latents(nn.Module):
    """Learned queries whose number is written into the code, and attention that multiplies heads with the batch."""

    def __init__(self):
        super().__init__()
        self.latents, self.enter = nn.Parameter(torch.randn(1, 5, 16)), nn.Linear(6, 16)
        self.mix, self.out = nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        x, latents = self.enter(x), self.latents.expand(x.size(0), -1, -1)
        latents = latents + self.mix(latents, x, x)[0]
        return self.out(latents.flatten(0, 1)).view(x.size(0), 5, 3).sum(1)


def test_heads_that_the_code_multiplies_with_the_batch_are_cut_for_any_batch():
    torch.manual_seed(0)
    small, gone = halved(Latents(), torch.randn(2, 7, 6))
    assert isinstance(small, ExportedNetwork)
    for shape in ((2, 7, 6), (5, 7, 6)):
        x = torch.randn(shape)
        hidden = gone.out.bias * (~gone.latents.flatten(0, 1).any(-1)).sum()
        assert torch.allclose(small(x), gone(x) - hidden - lost(gone, x), atol=1e-4)


def lost(gone, x):
    """What the zeroed latents still give in the original: attention of a query without content, through the output."""
    empty = ~gone.latents[0].any(-1)
    x, latents = gone.enter(x), gone.latents.expand(len(x), -1, -1)[:, empty]
    return F.linear(gone.mix(latents, x, x)[0], gone.out.weight).sum(1)


def test_a_failing_attempt_writes_nothing_to_the_terminal(capfd):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.o = nn.Linear(16, 48), nn.Linear(16, 4)

        def forward(self, x):
            q, k, v = self.qkv(x).split(16, dim=-1)
            return self.o(torch.tanh(q) * torch.sigmoid(k) * v)

    torch.manual_seed(0)
    small = sc.prune(Model().eval(), 0.5, granularity="neuron", example=torch.randn(2, 6, 16))
    again = sc.prune(small, 0.5, granularity="neuron", example=torch.randn(2, 6, 16))
    assert sum(p.numel() for p in again.parameters()) < 300 and again(torch.randn(3, 2, 16)).shape == (3, 2, 4)
    assert capfd.readouterr().err == ""


class Auxiliary(nn.Module):
    """A head that only training uses, on units that the rest shares, and a layer that nothing uses."""

    def __init__(self, apart):
        super().__init__()
        self.apart, self.one, self.out = apart, nn.Linear(6, 8), nn.Linear(8, 3)
        self.side, self.last, self.idle = nn.Linear(6 if apart else 8, 12), nn.Linear(12, 3), nn.Linear(8, 8)

    def forward(self, x):
        hidden = torch.relu(self.one(x))
        if self.training:
            return self.out(hidden), self.last(torch.relu(self.side(x if self.apart else hidden)))
        return self.out(hidden)


def test_what_only_training_uses_stays():
    net, x = Auxiliary(apart=True).eval(), torch.randn(2, 6)
    reasons = {g.name: g.reason for g in sc.targets(net, x).groups}
    assert all("it is not used for this example" in reasons[name] for name in ("side", "last", "idle"))
    small = sc.prune(net, 0.5, granularity="neuron", example=x)
    assert type(small) is Auxiliary and (small.one.out_features, small.side.out_features) == (4, 12)
    assert [y.shape for y in small.train()(x)] == [(2, 3), (2, 3)]
    again = sc.prune(small.eval(), 0.5, granularity="neuron", example=x)
    assert again.one.out_features == 2


def test_units_that_a_head_of_training_reads_too_give_the_graph_and_a_note():
    net, x = Auxiliary(apart=False).eval(), torch.randn(2, 6)
    removal = carry_out(net, sc.plan(net, 0.5, granularity="neuron", example=x))
    assert isinstance(removal.network, ExportedNetwork)
    assert "train mode of the cut code fails" in removal.notes[0]


def test_no_warning_comes_from_a_fresh_network():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = sc.prune(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), 0.5, granularity="neuron",
                         example=torch.randn(8, 6))
    assert small[0].out_features == 4
