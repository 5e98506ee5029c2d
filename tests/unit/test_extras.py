"""Optional packages: never imported where they are not asked for, and named with the command that installs them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import sweep

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "secateur"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = {"torch", "numpy", "safetensors", "llvmlite", "platformdirs", "rich", "typer", "tomli", "tomllib", "click"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "compressed_tensors": "compressed-tensors"}
COMES_WITH = {"onnx_ir": "onnxscript"}
BLOCK = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else find(name, path, target)
PathFinder.find_spec = find_spec
"""


def names_of(requirements):
    return {re.match(r"[\w.-]+", r)[0] for r in requirements}


def extras():
    """Which distributions each extra brings, those of the extras that it names included."""
    own = PROJECT["optional-dependencies"]

    def all_of(extra):
        inner = [e for r in own[extra] for e in re.findall(r"secateur\[([\w,-]+)\]", r)]
        return names_of(own[extra]) | {d for e in inner for name in e.split(",") for d in all_of(name)}

    return {extra: all_of(extra) for extra in own}


def imports(tree):
    """Every import of a module outside the package: the node and the top-level name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module.partition(".")[0]


def optional(tree):
    known = BASE | {"secateur", "__future__"} | set(sys.stdlib_module_names)
    return [(node, name) for node, name in imports(tree) if name not in known]


def guarded(tree):
    """Packages whose absence a file answers: a ``try`` with the import, a handler, and what it raises."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            raised = [c for h in node.handlers for c in ast.walk(h) if isinstance(c, ast.Call)
                      and getattr(c.func, "id", "") in ("MissingExtraError", "missing")]
            for _, name in imports(ast.Module(node.body, [])):
                yield name, raised


def declared(folder):
    """Packages that a class of a folder declares and checks before any work: its ``packages``, with its ``extra``."""
    for path in folder.glob("*.py"):
        for kind in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)):
            held = {t.id: ast.literal_eval(a.value) for a in kind.body if isinstance(a, ast.Assign)
                    for t in a.targets if getattr(t, "id", "") in ("packages", "extra")}
            yield from ((name, held["extra"]) for name in held.get("packages", ()) if "extra" in held)


FILES = [p for p in sorted(SOURCE.rglob("*.py")) if optional(ast.parse(p.read_text()))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_optional_import_names_its_extra(path):
    """The package is asked for in a ``try`` whose handler raises a MissingExtraError of an extra that brings it.

    Where a class of the folder declares what it needs, that is checked before its files are imported.
    """
    tree, brings, told = ast.parse(path.read_text()), extras(), dict(declared(path.parent))
    answers = {name: raised for name, raised in guarded(tree) if raised}
    for name in [COMES_WITH.get(name, name) for _, name in optional(tree)]:
        if name in told:
            assert DISTRIBUTIONS.get(name, name) in brings[told[name]], (path.name, name, told[name])
            continue
        assert name in answers, f"{path.name}: import {name} outside of a try that raises MissingExtraError"
        for call in answers[name]:
            extra = next((a.value for a in call.args[1:2] if isinstance(a, ast.Constant)), None)
            assert extra is None or DISTRIBUTIONS.get(name, name) in brings[extra], (path.name, name, extra)


def blocked():
    """Every optional package that any file of the package imports or any extra but the base brings."""
    found = {name for path in FILES for _, name in optional(ast.parse(path.read_text()))}
    tops = {d: m for m, d in DISTRIBUTIONS.items()}
    return sorted(found | {tops.get(d, d).replace("-", "_") for d in extras()["all"]} - {"secateur"})


def without(code, cwd, *gone):
    return subprocess.run([sys.executable, "-c", BLOCK.format(blocked=set(gone or blocked())) + code], cwd=cwd,
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"})


def command(*words):
    return f"import sys\nsys.argv = {['secateur', *words]!r}\nfrom secateur.cli import main\nmain()\n"


def test_the_package_and_every_help_need_no_extra(tmp_path):
    code = """
import io, contextlib, pkgutil, importlib, secateur as sc, torch
from secateur.cli import app
from typer.main import get_command
for name, found in get_command(app).commands.items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        get_command(app).main([name, "--help"], standalone_mode=False)
    assert "Usage" in out.getvalue(), name
for module in pkgutil.walk_packages(sc.__path__, "secateur."):
    if "callbacks." not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
x = torch.rand(64, 16)
sc.prune(net, 0.5, data=x)
small = sc.prune(net, 0.5, granularity="neuron", data=x)
sc.save(small, "small.safetensors")
sc.load("small.safetensors", lambda: torch.nn.Sequential(
    torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)))
sc.compile(net, x)(x)
print("whole")
"""
    done = without(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("whole")


TINY = ["--model", "lenet-300-100", "--sparsity", "0,0.5", "--seeds", "1", "--epochs", "1", "--out", "run"]


@pytest.mark.parametrize(("gone", "words", "extra"), sweep([
    ("sklearn", ["study", "--data", "digits", *TINY], "data"),
    ("sklearn", ["prune", "--data", "digits", "--model", "lenet-300-100", "--sparsity", "0.5"], "data"),
    ("matplotlib", ["study", "--data", "digits", *TINY], "report"),
    ("jinja2", ["report", "run"], "report"),
    ("scipy", ["report", "run"], "report"),
    ("pyarrow", ["report", "run", "--parquet"], "report"),
    ("joblib", ["study", "--data", "digits", *TINY, "--jobs", "2"], "parallel"),
    ("distributed", ["study", "--data", "digits", *TINY, "--backend", "dask", "--address", "tcp://127.0.0.1:1"],
     "cluster"),
], lambda case: case[0] == "sklearn" and case[1][0] == "study"))
def test_a_command_names_the_missing_extra_in_one_line(gone, words, extra, tmp_path):
    rows = tmp_path / "run" / "rows.sqlite"
    if words[0] == "report":
        rows.parent.mkdir()
        rows.touch()
    done = without(command(*words), tmp_path, gone)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith(f"not installed: pip install 'secateur[{extra}]'")
    assert not rows.exists() or not rows.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(("gone", "module", "extra"), [
    ("lightning", "lightning", "lightning"), ("transformers", "hugging_face", "transformers"),
    ("tensorboard", "tensorboard", "tensorboard")])
def test_a_callback_names_the_missing_extra(gone, module, extra, tmp_path):
    """In a process that never had the package; ``test_training_callbacks.py`` takes it away in this one."""
    done = without(f"import secateur.training.callbacks.{module}", tmp_path, gone)
    assert f"pip install 'secateur[{extra}]'" in done.stderr


def test_data_that_must_be_fetched_name_what_fetches_them(tmp_path, monkeypatch):
    from secateur.data.datasets import _download

    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError) as caught:
        _download.fetch("mnist", "x.gz", ["https://nowhere.invalid/"], lambda path: None)
    assert str(caught.value) == "fetching x.gz needs pooch, which is not installed: pip install 'secateur[data]'"


def test_base_is_light():
    assert names_of(PROJECT["dependencies"]) == {"torch", "numpy", "safetensors", "llvmlite", "platformdirs", "rich",
                                               "typer", "tomli"}
