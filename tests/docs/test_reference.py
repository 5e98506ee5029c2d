"""The reference has every name of ``import secateur``."""

import inspect
from pathlib import Path

import secateur as sc

REFERENCE = "\n".join(page.read_text() for page in (Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))


def test_every_function_and_class_of_the_face_is_in_the_reference():
    def shown(item):
        parts = f"{item.__module__}.{item.__qualname__}".split(".")
        return any(f"::: {'.'.join(parts[:end])}\n" in REFERENCE for end in range(2, len(parts) + 1))

    items = {name: getattr(sc, name) for name in sc.__all__}
    assert not [name for name, item in items.items() if inspect.isroutine(item) | inspect.isclass(item)
                and not shown(item)]
