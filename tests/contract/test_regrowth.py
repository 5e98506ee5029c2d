"""Every regrowth, found by scanning its folder."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.training.regrowth.base import exchange

NAMES = list(registry.files("regrowth"))


@pytest.mark.parametrize("name", NAMES)
def test_scores_every_weight_from_its_own_draws(name):
    how = registry.get("regrowth", name)(0.4)
    weight, gradient = torch.zeros(5, 3), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scores = [how.score(weight, gradient, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert scores[0].shape == (5, 3)
    assert torch.equal(*scores)
    assert [how.count(100, p) for p in (0.0, 0.5, 1.0)] == [40, 20, 0]
    with pytest.raises(SecateurError, match="share 2"):
        registry.get("regrowth", name)(2)


@given(living=st.integers(0, 12), count=st.integers(0, 20), seed=st.integers(0, 99))
def test_an_exchange_keeps_the_number_and_takes_the_smallest(living, count, seed):
    draws = torch.Generator().manual_seed(seed)
    keep = torch.zeros(12, dtype=torch.bool)
    keep[torch.randperm(12, generator=draws)[:living]] = True
    weight, worth = torch.randn(12, generator=draws) * keep, torch.rand(12, generator=draws)
    after = exchange(weight, keep, worth, count)
    gone, come = keep & ~after, after & ~keep
    assert int(after.sum()) == living
    assert int(gone.sum()) == int(come.sum()) == min(count, living, 12 - living)
    if gone.any() and (keep & after).any():
        assert weight[gone].abs().max() <= weight[keep & after].abs().min()
    if come.any() and (~keep & ~after).any():
        assert worth[come].min() >= worth[~keep & ~after].max()
