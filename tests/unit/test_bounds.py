"""What settings may be: numbers in their bounds, truth values and text never; messages with the words."""

import math

import pytest

from secateur.core.bounds import above, at_least, between, check_settings, whole
from secateur.core.errors import SecateurError


@pytest.mark.parametrize(("bound", "fine", "wrong"), [
    (whole(2), [2, 10**9], [1, 2.0, True, "2", None]),
    (between(0, 1), [0, 0.5, 1], [-0.1, 1.1, True, "1", math.nan, None]),
    (between(0, 1, with_high=False), [0, 0.999], [1, 1.0]),
    (at_least(0), [0, 1e9], [-1, math.inf, math.nan, False]),
    (above(0), [1e-300, 5], [0, math.inf, math.nan, "x"])])
def test_a_bound_lets_through_what_its_words_say(bound, fine, wrong):
    assert [bound.allows(value) for value in fine] == [True] * len(fine)
    assert [bound.allows(value) for value in wrong] == [False] * len(wrong)


def test_the_first_setting_out_of_bounds_is_named_with_its_owner():
    check_settings("", {"a": 1, "b": 2}, a=whole(1), b=whole(1))
    with pytest.raises(SecateurError, match=r"^mine b 0: allowed are whole numbers from 1$"):
        check_settings("mine", {"a": 1, "b": 0, "c": -1}, a=whole(1), b=whole(1), c=whole(0))
    with pytest.raises(SecateurError, match=r"^decay 1: allowed are numbers in \[0, 1\)$"):
        check_settings("", {"decay": 1}, decay=between(0, 1, with_high=False))
