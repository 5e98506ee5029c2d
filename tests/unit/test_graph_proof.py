"""The proofs fail where something is wrong, refusals say why, and nothing of the caller's is changed."""

from __future__ import annotations

import copy
import pickle

import networks
import pytest
import torch
from torch import nn

import secateur as sc
from secateur import graph
from secateur.core.errors import UnsupportedError
from secateur.core.types import Cut
from secateur.graph.cut import surgery
from secateur.graph.proof import oracles as prove
from secateur.graph.proof import reference
from secateur.graph.rules import base, elementwise


class Flipped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.one(x)
        return self.two(hidden + hidden.flip(-1))


def test_flipped_channels_are_not_cut():
    structure = sc.targets(Flipped(), torch.randn(2, 6))
    group = next(g for g in structure.groups if g.name == "one")
    assert "flip along it" in group.reason
    with pytest.raises(sc.SecateurError, match="nothing to cut"):
        sc.plan(Flipped(), 0.5, granularity="neuron", example=torch.randn(2, 6))


def test_a_wrong_rule_is_found_by_permutation_and_named(monkeypatch):
    monkeypatch.setitem(base.RULES, "flip", elementwise.pointwise)
    net, x = Flipped(), torch.randn(2, 6)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    with pytest.raises(UnsupportedError, match=r"permuting the units of group 'one' \(linear") as caught:
        sc.apply(net, plan)
    assert "\n" not in str(caught.value)


def test_a_wrong_slice_is_found_by_masking_and_named(monkeypatch):
    net, x = networks.NETWORKS["residual"]()
    plan = sc.plan(net.eval(), 0.5, granularity="neuron", example=x)

    def first_ones(tensor, kept):
        for axis, mask in kept.items():
            tensor = tensor.narrow(axis, 0, int(mask.sum()))
        return tensor.contiguous()

    monkeypatch.setattr(surgery, "slice_tensor", first_ones)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UnsupportedError, match="is not proved at group '0'"):
        sc.apply(net, plan)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_scrambled_heads_are_seen_although_fresh_attention_is_nearly_uniform():
    net, x = networks.NETWORKS["attention-by-hand"]()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.02)
    structure = sc.targets(net.eval(), x)
    queries = next(g for g in structure.groups if g.unit == "head")
    trace, leaf = structure.trace, structure.trace.leaf_of[queries.name]
    only_q = copy.copy(trace.flow.stored)
    trace.flow.stored["1.attention.k.weight"] = base.TensorAxes((24, 24), [trace.flow.axes.leaf(24), only_q[
        "1.attention.k.weight"].axes[1]])
    trace.flow.stored["1.attention.v.weight"] = trace.flow.stored["1.attention.k.weight"]
    before = reference.run(net, trace.first, trace.flow, trace.perturb)
    assert prove.distance(prove.permuted_outputs(net, trace, [leaf]), before) > 1e-3


def test_an_operator_without_a_rule_fixes_what_it_touches_and_is_named():
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(6, 9), nn.Linear(9, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.three(torch.relu(self.two(torch.linalg.matrix_exp(self.one(x).view(-1, 3, 3)).flatten(1))))

    structure = sc.targets(Strange(), torch.randn(2, 6))
    assert [g.name for g in structure.groups if g.cuttable] == ["two"]
    assert any("matrix_exp" in name for name in structure.unknown)
    assert "operator without a pruning rule, so the tensors it uses are not cut: linalg_matrix_exp" in str(structure)


def test_control_flow_on_data_is_refused_with_the_reason():
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(6, 3)

        def forward(self, x):
            return self.one(x) if x.sum() > 0 else self.one(-x)

    with pytest.raises(UnsupportedError, match=r"torch.export cannot trace Choosy.*try other example") as caught:
        sc.targets(Choosy(), torch.randn(2, 6))
    assert "\n" not in str(caught.value)


def test_an_example_of_another_type_is_told_with_both_types():
    with pytest.raises(sc.SecateurError, match="the network holds torch.float64 on cpu, the example torch.float32"):
        sc.targets(nn.Linear(3, 2).double(), torch.zeros(1, 3))


def test_a_plan_that_was_sent_is_traced_again_from_its_example():
    net, x = networks.NETWORKS["mlp"]()
    plan = pickle.loads(pickle.dumps(sc.plan(net, 0.5, granularity="neuron", example=x)))
    assert plan.structure.trace is None
    assert sc.apply(net, plan)[0].out_features == 6
    assert plan.structure.trace is None  # a plan is a value: carrying it out does not write into it


def test_a_plan_for_another_network_is_refused():
    net, x = networks.NETWORKS["mlp"]()
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    with pytest.raises(sc.SecateurError, match="the plan was made for another network"):
        sc.apply(nn.Sequential(nn.Linear(6, 3)), plan)


@pytest.mark.parametrize(("keep", "message"), [(torch.zeros(12, dtype=torch.bool), "leaves none of 12 units"),
                                               (torch.ones(5, dtype=torch.bool), "the group has 12 units")])
def test_a_cut_that_empties_or_misfits_a_group_is_refused(keep, message):
    net, x = networks.NETWORKS["mlp"]()
    structure = sc.targets(net, x)
    with pytest.raises(sc.SecateurError, match=message):
        graph.remove(net, [Cut("0", keep, structure.groups[0])], structure)


def test_the_network_s_inputs_are_not_changed_in_place():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 8), nn.Linear(8, 3)).double()
    x = torch.randn(2, 6, dtype=torch.float64)
    before = x.clone()
    sc.apply(net, sc.plan(net, 0.5, granularity="neuron", example=x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_optimizer_state_goes_on_after_a_cut(kind):
    net, x = networks.NETWORKS["batch-norms"]()
    optimizer = kind(net.parameters(), lr=0.01, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    net(x).square().sum().backward()
    optimizer.step()
    plan = sc.plan(net.eval(), 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan)
    after = graph.carry_optimizer(optimizer, net, small, plan.cuts)
    key = "momentum_buffer" if kind is torch.optim.SGD else "exp_avg"
    weight = net[0].weight
    assert torch.equal(after.state[small[0].weight][key], optimizer.state[weight][key][plan.cuts[0].keep])
    small.train()(x).square().sum().backward()
    after.step()
    assert after.state[small[0].weight][key].shape == small[0].weight.shape


def test_what_is_left_is_rounded_up_to_a_multiple():
    net, x = networks.NETWORKS["convolutions-and-flatten"]()
    plan = sc.plan(net, 0.6, granularity=sc.Neuron(round_to=4), example=x)
    assert [int(c.keep.sum()) for c in plan.cuts] == [4, 4]
    assert sc.apply(net, plan)[0].out_channels == 4


def test_global_scope_compares_groups_by_their_own_mean():
    net, x = networks.NETWORKS["mlp"]()
    with torch.no_grad():
        net[0].weight.mul_(100)
    plan = sc.plan(net, 0.4, granularity="neuron", example=x, scope="global")
    assert plan.cuts[0].removed > 0


def test_a_dry_run_says_what_goes():
    net, x = networks.NETWORKS["mlp"]()
    told = sc.dry_run(net, sc.plan(net, 0.5, granularity="neuron", example=x), x)
    assert told.parameters == (215, 85)
    assert told.flops[1] < told.flops[0]
    assert str(told).startswith("parameters: 215 -> 85 (39.5%)")


def test_the_command_line_lists_groups_and_savings():
    from typer.testing import CliRunner

    from secateur.cli import app

    said = CliRunner().invoke(app, ["info", "lenet5", "--shape", "1,28,28", "--sparsity", "0.5"])
    assert said.exit_code == 0
    assert "conv1: 20 x channel" in said.output
    assert "parameters: 431,080 -> " in said.output
