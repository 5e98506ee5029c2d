"""What the original gives for the samples is gathered once for several cuts, and changes none of them."""

import copy

import pytest
import torch
from support import blobs, tiny

import secateur as sc
from secateur.data.calibration import calibration
from secateur.recovery import distil_samples, layerwise_passes
from secateur.recovery.methods.base import RecoveryContext
from secateur.recovery.original import Original
from secateur.recovery.pipeline import recover


@pytest.fixture
def net():
    torch.manual_seed(0)
    return tiny().eval()


def recovered(net, granularity, sparsity, samples, asked=None):
    plan = sc.plan(net, sparsity, granularity=granularity, example=blobs()[0][:1])
    return recover(net, sc.apply(net, plan), plan, "best", samples, 0, asked).network


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
@pytest.mark.parametrize("room", [1 << 29, 2000, 0])
def test_shared_or_not_the_networks_are_equal_bit_for_bit(net, granularity, room):
    """Also where only some of it, or nothing, fits the memory that is allowed."""
    samples = calibration(blobs()[0][:160])
    asked = Original(net, samples, room)
    for sparsity in (0.5, 0.75, 0.5):
        alone = recovered(net, granularity, sparsity, samples)
        assert same(recovered(net, granularity, sparsity, samples, asked), alone)


def test_the_original_is_run_once_for_all_cuts(net, monkeypatch):
    samples, calls, call = calibration(blobs()[0][:160]), [], layerwise_passes.call
    for module in (layerwise_passes, distil_samples):
        monkeypatch.setattr(module, "call", lambda model, batch: calls.append(model) or call(model, batch))
    asked = Original(net, samples)
    counts = []
    for sparsity in (0.5, 0.75):
        calls.clear()
        recovered(net, "weight", sparsity, samples, asked)
        counts.append(sum(model is net for model in calls))
    assert counts[0] > 0 and counts[1] == 0


def test_what_was_gathered_from_other_samples_is_not_taken(net):
    one, other = calibration(blobs()[0][:100]), calibration(blobs()[0][100:200])
    shared = Original(net, one)
    plan = sc.plan(net, 0.5)
    context = RecoveryContext(net, copy.deepcopy(net), plan, other, original_asked=shared)
    assert context.asked is not shared
    assert RecoveryContext(net, net, plan, one, original_asked=shared).asked is shared
    assert same(recovered(net, "weight", 0.5, other, shared), recovered(net, "weight", 0.5, other))
