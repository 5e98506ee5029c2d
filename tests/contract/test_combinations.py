"""Every criterion with every granularity and scope: an exact plan, or one line that says why not."""

import pytest
import torch
from support import tiny

import secateur as sc
from secateur import granularity, registry
from secateur.calibration import calibration
from secateur.overview import targets
from secateur.prune import Selection

X = torch.rand(48, 1, 4, 4, generator=torch.Generator().manual_seed(0))
DATA = calibration((X, torch.arange(48) % 4))
WRITTEN = ["weight", "neuron", "2x4", "2:4"]
SCOPES = ["layer", "global", "lamp", "erk", "owl"]


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
        plan = Selection(net, written, criterion, scope, ["5"], X[:1], 0, found, samples=DATA).plan(sparsity)
    except sc.SecateurError as reason:
        assert "\n" not in str(reason)
        assert not scored or not defined or "scope 'lamp' squares the scores" in str(reason)
        return
    assert scored
    assert defined
    assert plan.removed == round(sparsity * plan.items)
    assert all(layer["removed"] < layer["items"] for layer in plan.layers())
