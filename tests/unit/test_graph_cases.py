"""Networks in unusual states and of unusual kinds: what is cut, what works afterwards, what is refused."""

from __future__ import annotations

import copy

import networks
import pytest
import torch
import torch.distributed as dist
import torch.nn.utils.prune as torch_prune
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.errors import UnsupportedError
from secateur.pruning.apply import carry_out


def half(net: nn.Module, example: object) -> nn.Module:
    return sc.apply(net.eval(), sc.plan(net, 0.5, granularity="neuron", example=example))


def test_whole_experts_go_and_the_router_shares_among_those_that_stay():
    net, x = networks.NETWORKS["mixture-of-experts"]()
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    experts = next(c for c in plan.cuts if c.group.unit == "expert")
    small = sc.apply(net, plan)
    assert small.up.shape[0] == small.router.out_features == experts.removed == 2
    only = sc.apply(net, sc.plan(net, 0.5, granularity="neuron", example=x, skip=["embed"]))
    assert only.up.shape[1] == 12 and only.up.shape[0] == 2


class Mamba(nn.Module):
    """A selective state-space block in plain torch: gate, short convolution, input-dependent steps, a scan."""

    def __init__(self, width: int = 12, inner: int = 16, state: int = 4, rank: int = 3):
        super().__init__()
        self.inner, self.state, self.rank = inner, state, rank
        self.enter, self.leave = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)
        self.conv = nn.Conv1d(inner, inner, 3, groups=inner, padding=2)
        self.select, self.step = nn.Linear(inner, rank + 2 * state, bias=False), nn.Linear(rank, inner)
        self.decay = nn.Parameter(torch.log(torch.arange(1.0, state + 1)).repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))

    def forward(self, x):
        x, gate = self.enter(x).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :x.shape[1]]).transpose(1, 2)
        step, write, read = self.select(x).split([self.rank, self.state, self.state], -1)
        step = F.softplus(self.step(step))
        kept = torch.exp(step[..., None] * -torch.exp(self.decay))
        put = step[..., None] * write[:, :, None] * x[..., None]
        memory, outs = torch.zeros_like(put[:, 0]), []
        for t in range(x.shape[1]):
            memory = kept[:, t] * memory + put[:, t]
            outs.append((memory * read[:, t, None]).sum(-1))
        return self.leave((torch.stack(outs, 1) + x * self.skip) * F.silu(gate))


def test_a_state_space_block_loses_channels_states_and_ranks():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(5, 12), Mamba(), nn.Linear(12, 3)), torch.randn(2, 6, 5)
    small = half(net, x)
    assert small[1].conv.groups == 8 and small[1].enter.out_features == 16
    assert small[1].decay.shape == (8, 2) and small[1].state == 2
    assert small(torch.randn(3, 9, 5)).shape == (3, 9, 3)


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x):
        hidden = torch.cond(x.sum() > 0, torch.sin, torch.cos, (self.one(x),))
        return self.three(torch.relu(self.two(hidden)))


def test_what_a_condition_touches_stays_and_the_rest_is_cut():
    x = torch.randn(2, 6)
    structure = sc.targets(Conditional(), x)
    assert [g.name for g in structure.groups if g.cuttable] == ["two"]
    assert any("cond" in name for name in structure.unknown)
    net = Conditional()
    small = half(net, x)
    assert small.two.out_features == 5
    for example in (x, -x):
        assert small(example).shape == (2, 3)


def test_a_cut_network_trains_under_ddp(tmp_path):
    net, x = networks.NETWORKS["residual"]()
    small = half(net, x)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(small.train())
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        before = copy.deepcopy(small.state_dict())
        wrapped(x).square().mean().backward()
        optimizer.step()
    finally:
        dist.destroy_process_group()
    assert any(not torch.equal(v, before[k]) for k, v in small.state_dict().items())


@pytest.mark.parametrize("name", ["attention", "grouped-query-attention", "rotary-attention", "tied-embeddings"])
def test_other_batches_and_lengths_work_after_the_cut_and_equal_their_own_parts(name):
    net, x = networks.NETWORKS[name]()
    small = half(net, x)
    with torch.no_grad():
        one, three = small(x[:1, :4]), small(torch.cat([x, x[:1]])[:, :4])
    assert torch.allclose(one, three[:1], atol=1e-5) and torch.allclose(one, three[-1:], atol=1e-5)


class TwoPaths(nn.Module):
    """Without a mask the hidden units are flipped, with one they are not."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x, mask=None):
        hidden = torch.relu(self.one(x))
        hidden = hidden.flip(-1) if mask is None else hidden * mask
        return self.three(torch.tanh(self.two(hidden)))


def test_several_examples_are_all_traced_and_all_proved():
    x, mask = torch.randn(2, 6), torch.ones(2, 1)
    one_path = sc.targets(TwoPaths(), (x, mask))
    both = sc.targets(TwoPaths(), [(x, mask), (x,)])
    assert {g.name for g in one_path.groups if g.cuttable} == {"one", "two"}
    assert {g.name for g in both.groups if g.cuttable} == {"two"}
    small = half(TwoPaths(), [(x, mask), (x,)])
    assert small(x).shape == small(x, mask).shape == (2, 3)
    with pytest.raises(sc.SecateurError, match="the list of examples is empty"):
        sc.targets(TwoPaths(), [])


class Choosing(nn.Module):
    """Control flow on data around two blocks that have none."""

    def __init__(self, peek: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
        self.tail = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
        self.peek = peek

    def forward(self, x):
        if x.sum() > 0:
            x = self.body(x)
        x = self.tail(x)
        return x * self.tail[0].weight.sum() if self.peek else x


def test_parts_of_a_network_that_cannot_be_exported_are_cut_and_proved():
    x = torch.randn(2, 6).abs()
    net = Choosing()
    structure = sc.targets(net, x)
    assert "depends on the values of the data at test_graph_cases.py" in str(structure)
    assert [g.name for g in structure.groups if g.cuttable] == ["body.0", "tail.0"]
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    before = copy.deepcopy(net.state_dict())
    small = sc.apply(net, plan)
    assert small.body[0].out_features == 4 and small.tail[2].in_features == 5
    assert all(torch.equal(v, before[k]) and v.dtype == torch.float32 for k, v in net.state_dict().items())
    with torch.no_grad():
        for cut, (first, last) in zip(plan.cuts, ((net.body[0], net.body[2]), (net.tail[0], net.tail[2])), strict=True):
            first.weight[~cut.keep], first.bias[~cut.keep], last.weight[:, ~cut.keep] = 0, 0, 0
        for example in (x, -x):
            assert torch.allclose(small(example), net(example), atol=1e-6)


def test_a_network_that_looks_into_its_parts_is_refused():
    net, x = Choosing(peek=True), torch.randn(2, 6).abs()
    with pytest.raises(UnsupportedError, match="the cut of Choosing in parts is not proved"):
        half(net, x)


@pytest.mark.parametrize("kind", ["prune", "shape", "meta", "lazy"])
def test_a_half_applied_state_is_told_in_one_line_and_nothing_changes(kind):
    net, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 6)
    if kind == "prune":
        torch_prune.l1_unstructured(net[0], "weight", 0.5)
        message = "module '0' holds a pending mask of torch.nn.utils.prune on 'weight'"
    elif kind == "shape":
        net[0].weight, net[0].bias = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(5))
        message = r"module '0' declares a weight of shape \[8, 6\], but its weight has \[5, 6\]"
    elif kind == "meta":
        net[2] = nn.Linear(8, 3, device="meta")
        message = "module '2' holds 'weight' on the meta device"
    else:
        net[2] = nn.LazyLinear(3)
        message = "module '2' is not initialised"
    names = sorted(dict(net.named_parameters()))
    with pytest.raises(sc.SecateurError, match=message) as caught:
        sc.targets(net, x)
    assert "\n" not in str(caught.value)
    assert sorted(dict(net.named_parameters())) == names


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.orthogonal])
def test_parametrized_weights_are_cut_with_their_buffers_or_stay(norm):
    net, x = nn.Sequential(norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 3)), \
        torch.randn(2, 6)
    small = half(net, x)
    assert small[2].out_features == 5
    for module in (m for m in small.modules() if isinstance(m, nn.Linear)):
        assert module.weight.shape == (module.out_features, module.in_features)
    assert small(torch.randn(7, 6)).shape == (7, 3)


def test_a_module_named_twice_in_skip_is_refused():
    net, x = networks.NETWORKS["mlp"]()
    with pytest.raises(sc.SecateurError, match="skip names 0 twice"):
        sc.plan(net, 0.5, granularity="neuron", example=x, skip=["0", "0"])


def test_modes_and_a_second_cut_of_parts_work():
    net, x = Choosing().train(), torch.randn(2, 6).abs()
    removal = carry_out(net.eval(), sc.plan(net, 0.5, granularity="neuron", example=x))
    again = half(copy.deepcopy(removal.network), x)
    assert again.tail[0].out_features == 3
    assert removal.notes == ()


@pytest.mark.parametrize("granularity", ["weight", "4x1", "2:4"])
def test_single_weights_that_a_parametrization_computes_are_refused(granularity):
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(sc.SecateurError, match=r"'0.weight' is computed by a parametrization"):
        sc.plan(net, 0.5, granularity=granularity, skip=())
    assert sc.plan(net, 0.5, granularity=granularity, skip=(), layers={"0": {"skip": True}}).cuts
