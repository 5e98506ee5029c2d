"""Blocks that do not divide a layer: worked out on paper, against a slow twin, and all the way to a file."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import secateur as sc
from secateur.files import compressed_tensors
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.ranking import removal_count
from secateur.pruning.scopes.base import Allocation
from secateur.pruning.selection import Selection
from secateur.recovery.current_plan import current_plan
from secateur.recovery.methods.gradual import Gradual
from secateur.training.keep_pruned import keep_pruned

FIVE = [[1.0, 1, 5, 3, 0], [1, 1, 3, 1, 8], [2, 0, 9, 9, 3]]
"""In blocks of 2x2 the sizes are 4, 4, 2 and 2, 2, 1, the means 1, 3, 4 and 1, 9, 3, the sums 4, 12, 8 and 2, 18, 3,
the maxima 1, 5, 8 and 2, 9, 3."""


def net(rows=FIVE):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return nn.Sequential(layer)


@pytest.mark.parametrize(("pooling", "left"), [
    ("mean", [[0, 0, 0, 0, 0], [0, 0, 0, 0, 8], [0, 0, 9, 9, 3]]),
    ("sum", [[0, 0, 5, 3, 0], [0, 0, 3, 1, 8], [0, 0, 9, 9, 0]]),
    ("max", [[0, 0, 5, 3, 0], [0, 0, 3, 1, 8], [0, 0, 9, 9, 0]])])
def test_three_of_six_blocks_by_hand(pooling, left):
    """By means 1, 1 and 3 go, of two threes the first; by sums 2, 3 and 4; by maxima 1, 2 and 3."""
    plan = sc.plan(net(), 0.5, granularity=sc.Block(2, 2, pooling=pooling), skip=())
    assert sc.apply(net(), plan)[0].weight.tolist() == left
    assert (plan.items, plan.removed, plan.reached) == (6, 3, 0.5)


def test_what_counts_by_hand():
    """By means blocks of 4, 2 and 4 weights go."""
    plan = sc.plan(net(), 0.5, granularity="2x2", skip=())
    (cut,) = plan.cuts
    assert (cut.items, cut.removed, cut.entries, cut.removed_entries) == (6, 3, 15, 10)
    assert plan.layers() == [{"name": "0.weight", "items": 6, "removed": 3, "sparsity": 0.5, "removed_weights": 10}]
    assert plan.notes[-1] == ("50% of the blocks removed, with 66.7% of the weights: blocks at the edge of a layer are "
                              "smaller")
    assert "removed_weights" not in sc.plan(net(), 0.5, granularity="3x5", skip=()).layers()[0]


def test_a_plan_of_several_granularities_counts_the_weights_of_small_blocks():
    two = nn.Sequential(*net(), nn.Linear(3, 2, bias=False))
    plan = sc.plan(two, 0.5, layers={"0": {"granularity": "2x2", "sparsity": 0.5}}, skip=())
    assert (plan.items, plan.removed) == (15 + 6, 10 + 3)
    assert not any("at the edge" in note for note in plan.notes)


def test_a_block_that_is_larger_than_the_layer_is_cut_off():
    """One column of all three outputs an item: sums 4, 2, 17, 13, 11."""
    plan = sc.plan(net(), 0.4, granularity=f"{10**30}x1", skip=())
    assert plan.items == 5
    assert plan.cuts[0].keep.tolist() == [[False, False, True, True, True]] * 3


@dataclass(frozen=True)
class Prices(Allocation):
    """Cuts nothing, and notes what it would save."""

    needs = frozenset({"costs"})

    def removals(self, layers, sparsity, bounds, context):
        return [0]

    def remarks(self, sparsity, counts, context):
        return [str(context.costs.layer(0, np.arange(6)).tolist())]


def test_a_budget_counts_the_weights_of_small_blocks():
    """Blocks go in the order of their means 1, 1.25, 3, 3, 4.25, 9, with 4, 2, 4, 1, 2, 2 weights."""
    whole = net([[w or 0.5 for w in row] for row in FIVE])
    given = {"granularity": "2x2", "data": torch.randn(32, 5), "skip": ()}
    assert sc.plan(whole, 0.5, scope=Prices(), **given).notes[0] == "[15.0, 11.0, 9.0, 5.0, 4.0, 2.0]"
    for budget, left in ((11, 11), (10, 9), (5, 5), (4, 4)):
        plan = sc.plan(whole, scope=sc.Budget(parameters=budget), **given)
        assert int((sc.apply(whole, plan)[0].weight != 0).sum()) == left


def test_channels_of_a_convolution_by_hand():
    """Three filters of three channels in blocks of 2x2, at each of two places, where one block is a single weight."""
    conv = nn.Conv1d(3, 3, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[4.0, 4, 1], [4, 4, 1], [9, 9, 2]])[..., None] * torch.tensor([1.0, 10]))
    plan = sc.plan(nn.Sequential(conv), 0.375, granularity="2x2", skip=())
    assert (plan.items, plan.removed) == (8, 3)
    gone = torch.tensor([[[1, 0], [1, 0], [1, 0]], [[1, 0], [1, 0], [1, 0]], [[0, 0], [0, 0], [1, 0]]]).bool()
    assert torch.equal(~plan.cuts[0].keep, gone)


def blocks_of(shape, axes, b, c):
    """The cells of every block, in the order outputs, places of the kernel, inputs."""
    sides = [{"out": b, "in": c}.get(a, 1) for a in axes]
    spans = [[range(first, min(first + s, n)) for first in range(0, n, s)] for n, s in zip(shape, sides, strict=True)]
    order = [axes.index("out"), *(i for i, a in enumerate(axes) if a not in ("out", "in")), axes.index("in")]
    for chosen in product(*(spans[i] for i in order)):
        yield list(product(*(chosen[order.index(i)] for i in range(len(axes)))))


LAYERS = {"linear": lambda i, o: nn.Linear(i, o), "conv": lambda i, o: nn.Conv2d(i, o, (2, 1)),
          "transposed": lambda i, o: nn.ConvTranspose1d(i, o, 2)}


@settings(max_examples=40)
@given(st.sampled_from([*LAYERS]), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5),
       st.sampled_from(["mean", "sum", "max"]), st.integers(0, 99), st.integers(0, 99))
def test_any_sides_of_any_layer_are_their_slow_twin(kind, into, out, b, c, pooling, hundredths, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(LAYERS[kind](into, out))
    made = Selection(model, sc.PruningSpec(granularity=sc.Block(b, c, pooling=pooling), skip=()))
    plan, (layer,) = made.plan(hundredths / 100), made.layers
    (cut,), weight = plan.cuts, model[0].weight
    cells = list(blocks_of(weight.shape, layer.target.axes, b, c))
    values = [[abs(float(weight[cell])) for cell in block] for block in cells]
    pool = {"mean": lambda v: sum(v) / len(v), "sum": sum, "max": max}[pooling]
    assert layer.scores.flatten().tolist() == pytest.approx([pool(v) for v in values], rel=1e-5)
    assert cut.sides and all(len({bool(cut.keep[cell]) for cell in block}) == 1 for block in cells)
    gone = [block for block in cells if not cut.keep[block[0]]]
    assert len(gone) == cut.removed == min(removal_count(len(cells), hundredths / 100), len(cells) - 1)
    assert (cut.items, cut.removed_entries) == (len(cells), sum(map(len, gone)))
    assert cut.uneven == (len(set(map(len, cells))) > 1)


def mlp():
    """The analog of a network with 1000 outputs in blocks of 16x4: 50 are three rows of blocks and one of 2 outputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 21), nn.ReLU(), nn.Linear(21, 4))


X = torch.randn(64, 30, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()


@pytest.fixture(scope="module")
def cut():
    """Recovered by the defaults, which refit what is left of every block."""
    return sc.prune(mlp(), 0.8, granularity="16x4", data=X)


def dead(model, b=16, c=4):
    """How many blocks of the two hidden layers are zero."""
    return [sum(not any(weight[cell] for cell in block) for block in blocks_of(weight.shape, ("out", "in"), b, c))
            for weight in (model[i].weight.detach().numpy() for i in (0, 2))]


def test_a_recovered_cut_has_the_blocks_that_were_asked_for(cut):
    """4 x 8 and 2 x 13 blocks: round(25.6) and round(20.8) go."""
    assert dead(cut) == [26, 21]


def test_it_is_compiled(cut):
    assert torch.allclose(sc.compile(cut, X[:8], budget=0.1)(X[:8]), cut(X[:8]), atol=1e-5)


def test_it_is_saved_and_exported(cut, tmp_path):
    sc.save(cut, tmp_path / "cut.safetensors", example=X[:2])
    assert all(torch.equal(a, b) for a, b in zip(
        sc.load(tmp_path / "cut.safetensors").state_dict().values(), cut.state_dict().values(), strict=True))
    session = onnxruntime.InferenceSession(str(sc.export(cut, tmp_path / "cut.onnx", X[:2])))
    got = session.run(None, {session.get_inputs()[0].name: X[:2].numpy()})[0]
    assert np.allclose(got, cut(X[:2]).detach().numpy(), atol=1e-5)
    path = compressed_tensors.save(cut, tmp_path / "bits.safetensors")
    back = compressed_tensors.load(path, mlp)
    assert torch.equal(back[0].weight, cut[0].weight)
    assert len(safetensors.torch.load_file(path)["0.compressed"]) == int((cut[0].weight != 0).sum())


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_it_is_pruned_while_it_trains(scope):
    found = sc.prune(mlp(), 0.8, granularity="16x4", scope=scope, data=(X, Y),
                     recovery=Gradual(epochs=2, batch_size=16, every=1))
    assert sum(dead(found)) == {"layer": 26 + 21, "global": 46}[scope]


class Below(Criterion):
    """Scores below zero, as a criterion that looks at gradients may give them."""

    granularities = frozenset({"weight"})

    def score(self, weight, signals):
        return weight.abs() - 100


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_what_a_pruner_has_cut_stays_cut(pooling):
    """One block of the four is gone already, a single weight; the next to go is one of the others, not that again."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[9.0, 9, 9, 9]] * 3 + [[9, 9, 9, 0]]))
    item = sc.Block(3, 3, pooling=pooling)
    keeps = sc.plan(model, 0.25, granularity=item, criterion=keep_pruned(Below(), item), skip=()).cuts[0].keep
    assert keeps.int().tolist() == [[1, 1, 1, 1]] * 3 + [[1, 1, 1, 0]]


def test_a_pruner_goes_on_from_its_state():
    first = sc.Pruner(mlp(), 0.8, granularity="16x4", skip=["4"])
    second = sc.Pruner(mlp(), 0.8, granularity="16x4", skip=["4"], saved=first.state_dict())
    assert second.plan == first.plan
    assert second.plan.removed == first.plan.removed == 26 + 21
    assert second.summary() == first.summary()
    assert dead(first.finish()) == [26, 21]


def test_the_plan_of_what_is_zero_now_has_as_many_blocks():
    """A block of 2x2 and one of 2x1 went; now the lower row is zero, of which the first two blocks are 1x2."""
    rows = [[1.0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]
    before = net([[0.1, 0.1, 5, 5, 0.2], [0.1, 0.1, 5, 5, 0.2], [5, 5, 5, 5, 5]])
    plan = sc.plan(before, 0.34, granularity="2x2", skip=())
    assert (plan.removed, plan.cuts[0].removed_entries) == (2, 6)
    now = current_plan(plan, net(rows))
    assert (now.removed, now.cuts[0].removed_entries) == (2, 4)
    assert now.cuts[0].keep.int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]
