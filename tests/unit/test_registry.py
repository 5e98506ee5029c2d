"""A folder is its own registry: the class of a file is found, whatever else the file names."""

import inspect
import types

import pytest

from secateur.core import registry

ITEMS = [(room, name) for room in registry.ROOMS for name in registry.files(room)]


@pytest.mark.parametrize(("room", "name"), ITEMS, ids=lambda word: word)
def test_an_alias_such_as_a_list_of_numbers_is_not_taken_for_a_class(monkeypatch, room, name):
    """Python 3.10 calls ``list[int]`` a class, which is none that ``issubclass`` takes; later ones do not."""
    found = registry.get(room, name)
    monkeypatch.setattr(inspect, "isclass", lambda item: isinstance(item, type | types.GenericAlias))
    assert registry.get(room, name) is found
    path = registry.files(room)[name].relative_to(registry.ROOT)
    assert found.__module__ == ".".join(("secateur", *path.with_suffix("").parts))
