"""The criterion that CONTRIBUTING.md adds in one file works by being there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
slow = pytest.mark.slow
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
WORKED = PAGE[PAGE.index("## Add a setting"):]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with the page's file in the folder that the page names."""
    folder = tmp_path_factory.mktemp("contributed")
    shutil.copytree(ROOT / "src" / "secateur", folder / "secateur", ignore=shutil.ignore_patterns("__pycache__"))
    path, code = re.search(r"`src/(secateur/pruning/criteria/\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S).groups()
    (folder / path).write_text(code)
    return folder


def run(package, *words):
    done = subprocess.run([sys.executable, *words], cwd=package, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@slow
def test_it_is_listed_with_its_file(package):
    listed = run(package, "-m", "secateur", "list", "--files")
    assert re.search(r"peak .*\n? *\(secateur/pruning/criteria/peak\.py\)", listed)


@slow
def test_it_passes_the_contract_tests_and_its_own_example(package):
    shown = run(package, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "-q", "-k", "peak",
                "--doctest-modules", str(ROOT / "tests" / "contract" / "test_criteria.py"),
                "secateur/pruning/criteria/peak.py")
    assert int(re.search(r"(\d+) passed", shown)[1]) >= 3


@slow
def test_it_cuts_the_neurons_with_the_smallest_peaks(package):
    code = """
import torch, secateur as sc
net = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.ReLU(), torch.nn.Linear(3, 1, bias=False))
with torch.no_grad():
    net[0].weight.copy_(torch.tensor([[3.0, 3.0], [5.0, 0.0], [4.0, -4.0]]))
small = sc.prune(net, 0.34, granularity="neuron", criterion="peak", example=torch.rand(1, 2))
print(small[0].weight.tolist())
"""
    assert run(package, "-c", code).strip() == "[[5.0, 0.0], [4.0, -4.0]]"


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", WORKED, re.S),
                         ids=lambda block: block.split("\n")[-2][:40])
def test_the_worked_examples_run(block):
    exec(compile(block, "CONTRIBUTING.md", "exec"), {"__name__": "contributing"})


def test_the_picture_of_the_house_has_every_room_on_its_floor():
    from test_rooms import FLOORS

    shown = {name.rstrip("/").removesuffix(".py"): int(floor)
             for floor, name in re.findall(r"^\| (\d+) \| `([\w./]+)` \|", PAGE, re.M)}
    there = {path.name.removesuffix(".py") for path in (ROOT / "src" / "secateur").iterdir()
             if not path.name.startswith("__") and path.name != "py.typed"}
    assert shown == {room: FLOORS[room] for room in there}
