"""Phrases that readers stumbled over stay away from README, docs, help and messages."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "src").rglob("*.j2"))]
OLD = {
    r"can lose \d": "you can remove 70% of the weights",
    r"cannot be cut (?:rightly|correctly)": "layers that cannot be pruned safely raise an error that says why",
    r"what cannot be cut": "layers that cannot be pruned safely",
    r"with all that it tells": "saved (35.9 kB, verified)",
    r"\b(?:is|are) no whole\b": "is not a valid … file",
    r"\bno whole (?:safetensors|exported|\.?npz|file)": "not a valid … file",
    r"that goes at (?:least|most)": "minimum fraction to prune",
    r"network that you have": "your own model",
    r"needs? \w+_(?:norm|gram)\b": "needs calibration inputs: pass data=",
    r"; got seed\b": "nothing: say what is needed",
    r"\bsome thousand of your\b|\bthousand inputs of yours\b": "some thousand of its inputs",
    r"says exactly what goes where": "says exactly what is removed where",
    r"the least that can be reached": "the smallest possible value",
    r"[Oo]f these that is taken": "returns the candidate",
    r"stands? there twice": "is given twice",
    r"\bis told (?:as|to (?:have|lie|be stored))\b|, told (?:is|was)\b": "is declared as, expected",
    r"\bis no (?:JSON|torch|array of)": "is not valid JSON, is not a torch.nn.Module",
    r"is not left behind": "was not written",
    r"nested in a way that is not known": "has an unknown kind of nesting",
    r"arguments by place": "positional arguments",
    r"flags win over": "flags override it",
    r"that no module can hold|that no run has": "is not a valid name, does not belong to a run",
    r"skip=\(\) lets (?:it|them)": "skip=() prunes them too",
    r"would have gone|\d\} go, not": "otherwise all would be removed",
    r"the outputs do not feel it for": "the outputs do not depend on it",
    r"which what needs the inputs": "as methods that use a layer's inputs assume",
}
"""An old phrase as an expression, and what to write instead."""

BENCHMARKS = {"benchmarks.md", "accuracy-tables.md"}
ONLY_THERE = re.compile(r"\b(?:aims?|aimed|reached)\b", re.I)
"""Words of benchmarks: elsewhere a reader wants to know what is so, not what was wanted."""


def prose(text):
    """A page without code, generated blocks, comments and addresses of links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"<!-- begin.*?<!-- end -->", "", text, flags=re.S)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


def old_phrases(text):
    return [f"{found[0]!r}: write {better!r}" for old, better in OLD.items() for found in re.finditer(old, text, re.M)]


def strings(path):
    """The texts in a file of the package: literals, docstrings among them, and templates."""
    if path.suffix != ".py":
        return path.read_text()
    nodes = ast.walk(ast.parse(path.read_text()))
    return "\n".join(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_old_phrase(page):
    assert old_phrases(prose(page.read_text())) == []


def test_help_and_messages_have_no_old_phrase():
    assert {path.name: found for path in SOURCES if (found := old_phrases(strings(path)))} == {}


def test_the_notebook_has_no_old_phrase():
    cells = json.loads((ROOT / "docs" / "notebooks" / "study.ipynb").read_text())["cells"]
    assert old_phrases("\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")) == []


def test_an_old_phrase_is_found():
    assert len(old_phrases("'x' is no whole safetensors file")) == 2
    assert old_phrases("'x' is not a valid safetensors file") == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in BENCHMARKS and not p.name.startswith(
    ("benchmarks-", "internals-", "CONTRIBUTING"))], ids=lambda page: page.name)
def test_words_of_benchmarks_stay_there(page):
    assert ONLY_THERE.findall(prose(page.read_text())) == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert pages - set(re.findall(r": ([\w/-]+\.md)$", navigation, re.M)) == set()
