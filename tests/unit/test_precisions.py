"""Networks in half the bytes: sums over samples are no worse than in single precision."""

import copy

import pytest
import torch
from support import sweep
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.pruning.criteria.base import criteria_for
from secateur.pruning.selection import Selection

HALVES = [torch.bfloat16, torch.float16]


def net(width=600, inputs=512):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10))


def inputs(count=2048):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, 512, generator=draw) @ torch.randn(512, 512, generator=draw) / 20


def apart(cut, whole, x):
    with torch.no_grad():
        return float((cut(x) - whole(x)).double().norm() / whole(x).double().norm())


@pytest.mark.parametrize(("granularity", "recovery", "dtype"), sweep(
    [(*cut, dtype) for cut in (("neuron", "refit"), ("weight", "refit"), ("weight", "sparsegpt")) for dtype in HALVES],
    {("neuron", "refit", HALVES[1]), ("weight", "sparsegpt", HALVES[0])}.__contains__))
def test_refits_are_as_near_as_in_single_precision(dtype, granularity, recovery):
    """The oracle is the same network in float32: its refit may be a little nearer, not several times."""
    half = net().to(dtype)
    x, single = inputs().to(dtype), copy.deepcopy(half).float()
    errors = [apart(sc.prune(whole, 0.5, granularity=granularity, data=data, recovery=recovery, skip=()), whole, data)
              for whole, data in ((half, x), (single, x.float()))]
    assert errors[0] < 1.1 * errors[1] + 0.01


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_every_criterion_scores_them_nearly_as_in_double_precision(dtype, granularity):
    half = net(48).to(dtype)
    x, y = inputs(256).to(dtype), torch.arange(256) % 10
    double, other = copy.deepcopy(half).double(), {"random", "bn-scale"}
    for criterion in set(criteria_for(granularity)) - other:
        spec = sc.PruningSpec(granularity=granularity, criterion=criterion, skip=["2"])
        found, truth = (Selection(whole, spec, samples=calibration((data, y))).layers[0]
                        for whole, data in ((half, x), (double, x.double())))
        pair = torch.stack([found.scores.double().flatten(), truth.scores.flatten()])
        assert torch.isfinite(pair).all()
        assert torch.corrcoef(pair)[0, 1] > 0.97, criterion
