"""Every schedule, found by scanning its folder."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.training import schedules
from secateur.training.schedules.base import Schedule

NAMES = list(registry.files("schedules"))


@pytest.mark.parametrize("name", NAMES)
@given(begin=st.integers(0, 50), length=st.integers(0, 200), initial=st.floats(0, 0.99), target=st.floats(0, 0.99))
def test_goes_from_initial_to_target_and_never_back(name, begin, length, initial, target):
    schedule = schedules.resolve(name, target, begin, begin + length, initial)
    path = [schedule.at(step) for step in range(0, begin + length + 20)]
    turn = 1 if target >= initial else -1
    assert all(turn * (late - early) >= -1e-9 for early, late in pairwise(path))
    assert path[-1] == path[begin + length] == target
    assert begin == 0 or path[begin - 1] == pytest.approx(initial)
    assert all(min(initial, target) - 1e-9 <= s <= max(initial, target) + 1e-9 for s in path)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is_and_refuses_nonsense(name):
    made = schedules.resolve(name, 0.9, end=100)
    assert isinstance(made, Schedule)
    assert type(made).__doc__
    for settings, word in (({"target": 1.0}, "sparsity 1.0"), ({"target": 0.5, "initial": -0.1}, "sparsity -0.1"),
                           ({"target": 0.5, "every": 0}, "every 0"), ({"target": 0.5, "begin": 9, "end": 3}, "end 3"),
                           ({"target": 0.5, "begin": 1.5}, "begin 1.5")):
        with pytest.raises(SecateurError, match=word):
            schedules.resolve(name, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_step_is_always_a_cut(name):
    schedule = schedules.resolve(name, 0.9, begin=3, end=25, every=10)
    assert [step for step in range(40) if schedule.due(step)] == [0, 10, 20, 25, 30]


def test_first_and_last_bound_the_cuts():
    schedule = schedules.Linear(0.9, end=100, every=4, first=10, last=21)
    assert [step for step in range(40) if schedule.due(step)] == [10, 14, 18, 21]
    with pytest.raises(SecateurError, match="last 5 comes before first 10"):
        schedules.Linear(0.9, first=10, last=5)


def test_paths_by_hand():
    """Half way, worked out on paper: 0.8 * (1 - 0.5 ** 3), 1 - sqrt(0.2), 0.8 * (1 - cos(pi / 2)) / 2."""
    half = {name: schedules.resolve(name, 0.8, end=10).at(5) for name in NAMES}
    assert half == pytest.approx({"polynomial": 0.7, "exponential": 1 - math.sqrt(0.2), "cosine": 0.4, "linear": 0.4,
                                  "constant": 0.8, "one-shot": 0.0})
    assert schedules.Polynomial(0.8, end=10, exponent=1).at(3) == pytest.approx(0.24)
    with pytest.raises(SecateurError, match="exponent 0"):
        schedules.Polynomial(0.8, exponent=0)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(SecateurError, match="did you mean 'polynomial'"):
        schedules.resolve("polynomal", 0.5)
