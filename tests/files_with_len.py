"""A helper in a file of its own, as networks have them: no class of the network is from here."""

from builtins import len


def rows(x):
    return len(x)
