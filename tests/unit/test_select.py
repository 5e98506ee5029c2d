"""The exact count and the ties, against a slow twin written from the definition."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.pruning.ranking import Ranking, removal_count

sparsities = st.integers(0, 999).map(lambda k: k / 1000)


def slow_keep(scores, sparsity):
    """By definition: sort (score, index), drop the first round(s n), half to even in decimal."""
    count = int((Decimal(repr(sparsity)) * len(scores)).quantize(Decimal(1), ROUND_HALF_EVEN))
    gone = sorted(range(len(scores)), key=lambda i: (scores[i], i))[:count]
    return [i not in gone for i in range(len(scores))]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), sparsities)
def test_ranking_is_its_slow_twin_with_many_ties(scores, sparsity):
    (keep,) = Ranking([torch.tensor(scores, dtype=torch.float32)]).keep(sparsity)
    assert keep.tolist() == slow_keep(scores, sparsity)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=20), min_size=2, max_size=4), sparsities)
def test_a_set_of_several_layers_is_cut_as_one(layers, sparsity):
    keeps = Ranking([torch.tensor(layer, dtype=torch.float32) for layer in layers]).keep(sparsity)
    assert [k for keep in keeps for k in keep.tolist()] == slow_keep([s for layer in layers for s in layer], sparsity)


@given(st.integers(1, 10**7), sparsities)
def test_the_count_is_the_nearest_whole_number(items, sparsity):
    count, exact = removal_count(items, sparsity), Decimal(repr(sparsity)) * items
    assert abs(count - exact) <= Decimal("0.5")
    assert abs(count - exact) < Decimal("0.5") or count % 2 == 0


@pytest.mark.parametrize(("items", "sparsity", "count"), [
    (10, 0.25, 2), (10, 0.35, 4), (50, 0.57, 28), (50, 0.29, 14), (25, 0.14, 4), (1, 0.5, 0), (3, 0.5, 2),
    (784_000, 0.99, 776_160), (200, 0.0, 0)])
def test_counts_worked_out_by_hand(items, sparsity, count):
    assert removal_count(items, sparsity) == count


def test_sparsities_nest():
    ranking = Ranking([torch.rand(1000, generator=torch.Generator().manual_seed(0))])
    for low, high in ((0.1, 0.2), (0.5, 0.9)):
        assert not (ranking.keep(high)[0] & ~ranking.keep(low)[0]).any()


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), float("inf"), "0.5", None])
def test_a_sparsity_outside_its_range_is_refused(bad):
    with pytest.raises(SecateurError, match=r"allowed is a fraction removed in \[0, 1\)"):
        check_sparsity(bad)


def test_nan_scores_are_refused():
    with pytest.raises(SecateurError, match="1 of 2 scores are NaN"):
        Ranking([torch.tensor([1.0, float("nan")])])
