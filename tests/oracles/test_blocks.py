"""Blocks and N:M worked out on paper, and against slow twins written from the definition."""

from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import secateur as sc
from secateur.pruning.ranking import removal_count


def linear(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows, dtype=torch.float32))
    return layer


FOUR = [[1, 2, 9, 0], [3, 2, 1, 0], [4, 4, 0, 7], [0, 0, 5, 5]]


def test_blocks_by_hand():
    """Means of the 2x2 blocks: 2, 2.5, 2, 4.25; the first of the equal ones goes first."""
    model = nn.Sequential(linear(FOUR))
    assert sc.prune(model, 0.25, granularity="2x2", skip=())[0].weight.tolist() == [
        [0, 0, 9, 0], [0, 0, 1, 0], [4, 4, 0, 7], [0, 0, 5, 5]]
    plan = sc.plan(model, 0.5, granularity="2x2", skip=())
    assert (plan.items, plan.removed) == (4, 2)
    assert sc.apply(model, plan)[0].weight.tolist() == [[0, 0, 9, 0], [0, 0, 1, 0], [0, 0, 0, 7], [0, 0, 5, 5]]


def test_pooling_decides_which_block_goes():
    """Maxima: 3, 9, 4, 7, so the upper left goes; sums of 1x4 blocks: 12, 6, 15, 10, maxima: 9, 3, 7, 5."""
    model = nn.Sequential(linear(FOUR))
    assert sc.prune(model, 0.25, granularity=sc.Block(2, 2, pooling="max"), skip=())[0].weight[:2, :2].abs().sum() == 0
    gone = {p: [i for i in range(4) if not sc.prune(model, 0.5, granularity=sc.Block(1, 4, pooling=p),
                                                    skip=())[0].weight[i].any()]
            for p in ("sum", "mean", "max")}
    assert gone == {"sum": [1, 3], "mean": [1, 3], "max": [1, 3]}
    assert not sc.prune(model, 0.75, granularity=sc.Block(1, 4, pooling="max"), skip=())[0].weight[2].any()
    assert sc.prune(model, 0.75, granularity=sc.Block(1, 4, pooling="mean"), skip=())[0].weight[2].any()


@pytest.mark.parametrize(("pattern", "kept"), [
    ("2:4", [[0, 2, 9, 0], [3, 2, 0, 0], [0, 4, 0, 7], [0, 0, 5, 5]]),
    ("1:4", [[0, 0, 9, 0], [3, 0, 0, 0], [0, 0, 0, 7], [0, 0, 0, 5]]),
    ("1:2", [[0, 2, 9, 0], [3, 0, 1, 0], [0, 4, 0, 7], [0, 0, 0, 5]])])
def test_n_m_by_hand(pattern, kept):
    plan = sc.plan(nn.Sequential(linear(FOUR)), granularity=pattern, skip=())
    assert sc.apply(nn.Sequential(linear(FOUR)), plan)[0].weight.tolist() == kept
    n, m = map(int, pattern.split(":"))
    assert plan.sparsity == plan.reached == 1 - n / m


def slow_n_m(weight, n, m):
    """Every output, every place of the kernel, every m input channels: sort (|w|, index), drop the first m - n."""
    keep = torch.ones_like(weight, dtype=torch.bool)
    out, into, *kernel = weight.shape
    for o, first, place in product(range(out), range(0, into, m), product(*map(range, kernel))):
        order = sorted(range(first, first + m), key=lambda i: (abs(float(weight.detach()[(o, i, *place)])), i))
        for i in order[:m - n]:
            keep[(o, i, *place)] = False
    return keep


@settings(max_examples=30)
@given(st.integers(0, 99), st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8), (3, 4)]))
def test_n_m_of_a_convolution_is_its_slow_twin_with_ties(seed, pattern):
    n, m = pattern
    conv = nn.Conv2d(16, 3, (2, 3), bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randint(-2, 3, conv.weight.shape, generator=torch.Generator().manual_seed(seed)))
    (cut,) = sc.plan(nn.Sequential(conv), granularity=f"{n}:{m}", skip=()).cuts
    assert torch.equal(cut.keep, slow_n_m(conv.weight, n, m))


def slow_blocks(weight, b, c, sparsity, pool):
    """All blocks in the order outputs, kernel, inputs, those at the end cut off: sort (pooled |w|, index), drop the
    first round(s n)."""
    out, into, *kernel = weight.shape
    blocks = []
    for o, place, i in product(range(0, out, b), product(*map(range, kernel)), range(0, into, c)):
        cells = [(x, y, *place) for x in range(o, min(o + b, out)) for y in range(i, min(i + c, into))]
        values = [Fraction(abs(float(weight.detach()[cell]))) for cell in cells]
        pooled = {"max": max(values), "sum": sum(values), "mean": sum(values) / len(values)}[pool]
        blocks.append((pooled, len(blocks), cells))
    keep = torch.ones_like(weight, dtype=torch.bool)
    for _, _, cells in sorted(blocks)[:min(removal_count(len(blocks), sparsity), len(blocks) - 1)]:
        for cell in cells:
            keep[cell] = False
    return keep


@settings(max_examples=40)
@given(st.integers(0, 99), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.integers(0, 99),
       st.sampled_from(["mean", "sum", "max"]), st.sampled_from([(), (2,), (2, 3)]), st.sampled_from([8, 6, 5]),
       st.sampled_from([4, 6, 1]))
def test_blocks_are_their_slow_twin_with_ties(seed, b, c, hundredths, pool, kernel, into, out):
    """At the edges, too: these sizes leave blocks of 1, 2 and 4 alone, whose means are exact."""
    kind = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d}[len(kernel)]
    layer = kind(into, out, *([kernel] if kernel else []), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-4, 5, layer.weight.shape, generator=torch.Generator().manual_seed(seed)))
    (cut,) = sc.plan(nn.Sequential(layer), hundredths / 100, granularity=sc.Block(b, c, pooling=pool), skip=()).cuts
    assert torch.equal(cut.keep, slow_blocks(layer.weight, b, c, hundredths / 100, pool))


def test_blocks_of_one_are_weights():
    net = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 4, 1))
    ones, singles = sc.plan(net, 0.37, granularity="1x1", scope="global", skip=()), sc.plan(net, 0.37, scope="global",
                                                                                            skip=())
    assert ones.removed == singles.removed
    assert sum(int((a.keep != b.keep).sum()) for a, b in zip(ones.cuts, singles.cuts, strict=True)) == 0


def test_a_transposed_convolution_is_cut_along_its_own_axes():
    conv = nn.ConvTranspose2d(4, 2, 2, bias=False)
    (cut,) = sc.plan(nn.Sequential(conv), granularity="2:4", skip=()).cuts
    assert cut.keep.sum(0).eq(2).all()


@pytest.mark.parametrize(("written", "message"), [
    ("2:3", "2:3 does not fit '0.weight': its 4 inputs are not a multiple of 3; allowed: 1, 2, 4; or skip '0'"),
    ("4:4", "allowed is n:m with 0 < n < m"), ("0x2", "allowed are sides of 1 or more"),
    ("blok", "did you mean 'block'")])
def test_what_does_not_fit_is_refused_with_the_reason(written, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(nn.Sequential(linear(FOUR)), None if ":" in written else 0.5, granularity=written, skip=())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sparsity": 0.9}, "sparsity 0.9 with granularity '2:4', whose sparsity is 0.5"),
    ({"scope": "global"}, "every layer already has its own sparsity; allowed: layer"),
    ({"layers": {"0": 0.25}}, "sparsity 0.25 of '0.weight' with '2:4', whose sparsity is 0.5"),
    ({"granularity": "weight"}, "sparsity is missing"), ({"criterion": "l2"}, "for '2:4' allowed: ")])
def test_a_sparsity_or_scope_that_n_m_contradicts_is_refused(arguments, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(nn.Sequential(linear(FOUR)), **{"granularity": "2:4", "skip": (), **arguments})
    assert message in str(caught.value)
