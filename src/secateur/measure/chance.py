"""What a test set is too small to show."""

from __future__ import annotations

_MISSED = 0.025
"""How probable it is at most that the samples miss what they are said to show: half of 5 %, as intervals have two ends.
"""


def unseen(tests: int) -> float:
    """The largest fraction of all inputs that may behave in a way that none of the test samples shows.

    Inputs of this fraction or more would show among ``tests`` samples with a probability of at least 97.5 % (the exact
    binomial bound of Clopper and Pearson, 1934, for no case among ``tests``): about 3.7 samples' worth.

    Args:
        tests: the number of test samples, 1 or more.

    >>> round(unseen(100), 4), round(unseen(10_000), 6)
    (0.0362, 0.000369)
    """
    return float(1 - _MISSED ** (1 / tests))
