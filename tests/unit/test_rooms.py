"""The rule of the house: a room imports lower floors only, and one way puts a user's file in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent.parent / "src" / "secateur"
FLOORS = {"core": 1, "data": 2, "graph": 2, "measure": 3, "quantization": 4, "runtime": 5, "pruning": 6, "files": 7,
          "training": 7, "models": 8, "recovery": 8, "engines": 8, "bench": 9, "experiment": 9, "api": 10, "report": 10,
          "cli": 11, "_face": 12, "__init__": 13, "__main__": 13}
"""Every entry at the top of the package, with its layer of imports."""
WRITERS = {
    "core/paths.py": "write_whole itself",
    "data/datasets/_download.py": "downloads: a file that pooch fetched and that was checked",
    "runtime/codegen/cache.py": "the kernel cache, which may be thrown away",
    "bench/memory.py": "a file of the kernel's own that clears a counter",
    "bench/run.py": "a temporary folder that goes when the block ends",
    "bench/compared.py": "a temporary folder that goes when the block ends",
    "bench/child.py": "a temporary folder that goes when the block ends",
    "files/native/write.py": "the scratch path that it is given",
    "files/exporters/pt2.py": "the scratch path that it is given",
    "models/loaders/_archive.py": "the example inputs of a program, in memory",
    "files/exporters/_int8_file.py": "a temporary folder, or the scratch path that it is given",
    "files/exporters/openvino_.py": "the scratch path that it is given",
    "files/exporters/safetensors_.py": "the scratch path that it is given",
    "report/exporters/report.py": "the scratch path that it is given"}
"""Files that write to a disk outside a block of ``write_whole``, and what makes that right. The store of rows is not
among them: SQLite writes it, whole."""
METHODS = {"write_text", "write_bytes", "savefig", "save_file", "save_model", "rename"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported of the package, dotted, without ``secateur.``; empty for the package itself."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
            [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else [])
        yield from (name.partition(".")[2] for name in names if f"{name}.".startswith("secateur."))


def upward(path: Path, tree: ast.AST) -> list[str]:
    """The imports of a file from rooms that are not below its own; within a room they are free."""
    room = path.parts[0].removesuffix(".py")
    others = [(name, name.partition(".")[0]) for name in imports(tree)]
    return [f"{path} imports {name or 'the package'}" for name, other in others
            if other != room and FLOORS.get(other, FLOORS["__init__"]) >= FLOORS[room]]


def writes(node: ast.AST, scratch: bool = False) -> Iterator[str]:
    """The calls that write or move a file outside a block of ``write_whole``."""
    if isinstance(node, ast.With):
        scratch = scratch or any("write_whole" in ast.unparse(item.context_expr) for item in node.items)
    if isinstance(node, ast.Call) and not scratch and is_write(node):
        yield f"line {node.lineno}: {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node):
        yield from writes(child, scratch)


def is_write(call: ast.Call) -> bool:
    """``path.replace(other)`` has one argument, the replacement in a text has two."""
    of, _, name = ast.unparse(call.func).rpartition(".")
    modes = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
    opened = any(isinstance(m, str) and set(m) & set("wax+") and set(m) <= set("rwaxbt+") for m in modes)
    moved = of == "os" or (len(call.args) == 1 and not call.keywords)
    return (name in METHODS or (name == "replace" and bool(of) and moved) or (name in ("open", "fdopen") and opened)
            or (of, name) == ("torch", "save"))


def test_the_top_has_the_rooms_of_the_house():
    entries = {p.name.removesuffix(".py") for p in SOURCE.iterdir() if p.name not in ("__pycache__", "py.typed")}
    assert entries <= FLOORS.keys()
    assert len(entries) <= 20


def test_imports_run_down():
    assert [wrong for path, tree in trees() for wrong in upward(path, tree)] == []


def test_files_are_put_in_their_place_by_write_whole():
    found = {path.as_posix(): [*writes(tree)] for path, tree in trees()}
    assert {name: calls for name, calls in found.items() if calls and name not in WRITERS} == {}
    assert [name for name in WRITERS if not found[name]] == [], "listed, and it writes nothing"


@pytest.mark.parametrize(("code", "count"), [
    ("path.write_text('x')", 1), ("open(path, 'w')", 1), ("path.open('rb')", 0), ("path.open(mode='ab')", 1),
    ("os.replace(a, b)", 1), ("path.replace(other)", 1), ("text.replace('a', 'b')", 0), ("replace(value, x=1)", 0),
    ("torch.save(x, path)", 1), ("figure.savefig(path)", 1),
    ("with write_whole(path) as scratch:\n torch.save(x, scratch)", 0)])
def test_writes_are_seen(code, count):
    assert len([*writes(ast.parse(code))]) == count


@pytest.mark.parametrize(("path", "code", "count"), [
    ("core/text.py", "from secateur.graph import trace", 1), ("graph/flow.py", "from secateur.core import text", 0),
    ("graph/flow.py", "from secateur.data.forward import call", 1), ("graph/a.py", "import secateur.graph.b", 0),
    ("api.py", "from secateur import report", 1), ("core/a.py", "import secateur as sc", 1),
    ("cli/app.py", "from secateur import prune", 1), ("cli/app.py", "def f():\n from secateur.report import x", 0)])
def test_upward_imports_are_seen(path, code, count):
    assert len(upward(Path(path), ast.parse(code))) == count
