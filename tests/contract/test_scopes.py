"""Every scope, found by scanning its folder."""

import pytest
import torch
from support import tiny

import secateur as sc
from secateur.core import registry
from secateur.pruning.scopes import resolve_scope
from secateur.pruning.scopes.base import Scope

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
NAMES = list(registry.files("scopes"))
CASES = [(name, kind) for name in NAMES for kind in sorted(registry.get("scopes", name).scores)]


def given(name):
    return {"data": X} if registry.get("scopes", name).needs else {}


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_competes_in_exactly_one_set(name):
    scope = registry.get("scopes", name)()
    assert isinstance(scope, Scope)
    assert sorted(i for members in scope.competitors(4) for i in members) == [0, 1, 2, 3]
    assert type(scope).__doc__


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_more_sparsity_removes_more_and_no_layer_is_emptied(name, kind):
    plans = [sc.plan(tiny(), s, granularity=kind, scope=name, example=X[:2], skip=["5"], **given(name))
             for s in (0, 0.3, 0.6, 0.8)]
    removed = [plan.removed for plan in plans]
    assert removed[0] == 0
    assert removed == sorted(set(removed))
    assert all(layer["removed"] < layer["items"] for plan in plans for layer in plan.layers())


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_same_again_is_the_same(name, kind):
    first, again = (sc.plan(tiny_again(), 0.5, granularity=kind, scope=name, example=X[:2], skip=(),
                            **given(name)) for _ in range(2))
    assert first == again


def tiny_again():
    torch.manual_seed(3)
    return tiny()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_bounds_hold(name, kind):
    if "costs" not in registry.get("scopes", name).needs:
        scope = resolve_scope(name, min_sparsity=0.25, max_sparsity=0.75)
        plan = sc.plan(tiny(), 0.5, granularity=kind, scope=scope, example=X[:2], skip=(), **given(name))
        assert all(0.25 <= layer["sparsity"] <= 0.75 for layer in plan.layers())


@pytest.mark.parametrize("name", NAMES)
def test_its_needs_are_named_where_they_are_missing(name):
    for kind in registry.get("scopes", name).scores if registry.get("scopes", name).needs else ():
        with pytest.raises(sc.SecateurError) as caught:
            sc.plan(tiny(), 0.5, granularity=kind, scope=name, example=X[:2], skip=())
        assert "data=" in str(caught.value)
