"""Every scope, found by scanning its folder."""

import pytest
import torch

from secateur import registry

SCORES = [torch.rand(n, generator=torch.Generator().manual_seed(n)) for n in (5, 1, 12)]


@pytest.mark.parametrize("name", registry.files("scopes"))
def test_every_layer_competes_in_exactly_one_set(name):
    sets = registry.get("scopes", name)().competitors(SCORES)
    assert sorted(i for members in sets for i in members) == [0, 1, 2]


@pytest.mark.parametrize("name", registry.files("scopes"))
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_every_set_has_a_sparsity_in_range(name, sparsity):
    scope = registry.get("scopes", name)()
    given = scope.sparsities(SCORES, sparsity)
    assert len(given) == len(scope.competitors(SCORES))
    assert all(0 <= s < 1 for s in given)
