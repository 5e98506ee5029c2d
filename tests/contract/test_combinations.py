"""Every criterion with every granularity and scope: an exact plan, or one line that says why not."""

import pytest
import torch
from support import tiny

import secateur as sc
from secateur.core import registry
from secateur.data.calibration import calibration
from secateur.pruning import granularity
from secateur.pruning.dry_run import targets
from secateur.pruning.selection import Selection

X = torch.rand(48, 1, 4, 4, generator=torch.Generator().manual_seed(0))
DATA = calibration((X, torch.arange(48) % 4))
WRITTEN = ["weight", "neuron", "2x4", "2:4"]
REASONS = ("scope 'lamp' squares the scores", "has no batch norm")
SCOPES = ["layer", "global", "lamp", "erk", "owl"]


@pytest.mark.parametrize("written", WRITTEN)
def test_with_data_the_default_recovery_leaves_every_layer_as_many_weights_as_the_plan(written):
    sparsity = granularity.resolve(written).sparsity or 0.5
    plan = sc.plan(tiny_again(), sparsity, granularity=written, data=X, skip=["5"])
    found = sc.prune(tiny_again(), sparsity, granularity=written, data=X, skip=["5"])
    for cut in plan.cuts:
        if cut.group is None:  # which ones stay, the recovery chooses
            assert int((found.get_parameter(cut.name) == 0).sum()) == int((~cut.keep).sum())
    assert found(X).shape == (48, 4)


@pytest.mark.parametrize("recovery", ["none", "reconstruct", "rechoose", "sparsegpt", "best"])
def test_what_went_is_positive_zero(recovery):
    found = sc.prune(tiny_again(), 0.9, recovery=recovery, data=X, skip=["5"])
    gone = [p[p == 0] for p in found.parameters()]
    assert sum(map(len, gone)) > 100
    assert not any(torch.signbit(values).any() for values in gone)


def tiny_again():
    torch.manual_seed(2)
    return tiny()


@pytest.fixture(scope="module")
def structure():
    torch.manual_seed(1)
    net = tiny()
    return net, targets(net, X[:2])


@pytest.mark.parametrize("criterion", registry.files("criteria"))
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_plan_or_the_reason(structure, criterion, written, scope):
    net, found = structure
    item = granularity.resolve(written)
    scored = item.scored_as in registry.get("criteria", criterion).granularities
    defined = item.scored_as in registry.get("scopes", scope).scores and (item.sparsity is None or scope == "layer")
    sparsity = item.sparsity or 0.5
    try:
        spec = sc.PruningSpec(granularity=written, criterion=criterion, scope=scope, skip=["5"])
        plan = Selection(net, spec, example=X[:1], structure=found, outputs=(), samples=DATA).plan(sparsity)
    except sc.SecateurError as error:
        plan, reason = None, str(error)
    if plan is None:
        assert "\n" not in reason
        assert not scored or not defined or any(words in reason for words in REASONS)
        return
    assert scored
    assert defined
    assert plan.removed == round(sparsity * plan.items)
    assert all(layer["removed"] < layer["items"] for layer in plan.layers())
