"""Blocks that are chosen by what they bring, against all choices that there are."""

from itertools import combinations

import pytest
import torch
from torch import nn

import secateur as sc


def data(columns):
    torch.manual_seed(2)
    return torch.randn(600, 3) @ torch.randn(3, columns) + 0.2 * torch.randn(600, columns)


def errors_of(x, y, supports):
    """The squared errors of the fits, with a bias, on these supports, ``(outputs, columns)`` bool each, in order."""
    ones = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    errors = []
    for support in supports:
        total = 0.0
        for row, target in zip(support, y.double().T, strict=True):
            used = ones[:, [*row.nonzero().flatten().tolist(), x.shape[1]]]
            total += float((used @ torch.linalg.lstsq(used, target[:, None]).solution - target[:, None]).square().sum())
        errors.append(total)
    return sorted(errors)


def block_supports(outputs, columns, rows, wide, keep):
    """Every choice of ``keep`` blocks of ``rows`` x ``wide``."""
    places = [(o, i) for o in range(0, outputs, rows) for i in range(0, columns, wide)]
    for some in combinations(places, keep):
        support = torch.zeros(outputs, columns, dtype=torch.bool)
        for o, i in some:
            support[o:o + rows, i:i + wide] = True
        yield support


@pytest.mark.parametrize(("granularity", "rows", "wide"), [("1x2", 1, 2), ("2x2", 2, 2), ("2x1", 2, 1)])
def test_the_chosen_blocks_are_among_the_best_third_of_all_choices(granularity, rows, wide):
    net, x = nn.Sequential(nn.Linear(6, 2)), data(6)
    y = net(x).detach()
    items = 2 // rows * 6 // wide
    keep = items // 3
    each = errors_of(x, y, block_supports(2, 6, rows, wide, keep))
    errors = {}
    for recovery in ("reconstruct", "rechoose"):
        made = sc.prune(net, 1 - keep / items, granularity=granularity, data=x, recovery=recovery, skip=())
        assert int((made[0].weight != 0).sum()) == keep * rows * wide
        errors[recovery] = float((made(x) - y).square().sum())
    assert each[0] * 0.99 <= errors["rechoose"] <= 1.01 * each[len(each) // 3]
    assert errors["rechoose"] <= 1.01 * errors["reconstruct"]


def test_n_of_m_that_is_chosen_anew_is_n_of_m_and_nearer():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(16, 8)), data(16)
    near = {}
    for recovery in ("reconstruct", "rechoose"):
        made = sc.prune(net, granularity="1:4", data=x, recovery=recovery, skip=())
        assert ((made[0].weight.view(8, 4, 4) != 0).sum(-1) == 1).all()
        near[recovery] = float((made(x) - net(x)).square().sum())
    assert near["rechoose"] < 0.8 * near["reconstruct"]


def test_blocks_of_a_convolution_lie_at_one_place_of_the_kernel():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    made = sc.prune(net, 0.5, granularity="2x2", data=torch.rand(300, 4, 4, 4), recovery="rechoose")
    blocks = (made[0].weight != 0).view(2, 2, 2, 2, 3, 3).permute(0, 2, 4, 5, 1, 3).flatten(4).sum(-1)
    assert set(blocks.flatten().tolist()) == {0, 4} and int((blocks == 4).sum()) == 18
