"""The set-up: what is pinned, and how the environment is made where something is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from support import diagonal, every

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a script for Debian's and Ubuntu's shell")


def plain(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def test_every_dependency_is_pinned():
    asked = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    assert {plain(r) for r in asked} - {plain(line) for line in LINES} == {"secateur"}
    assert all("==" in line for line in LINES)


def test_no_cuda_packages_and_one_torch():
    assert [line for line in LINES if plain(line) == "torch"] == ["torch==2.13.0"]
    assert not [line for line in LINES if re.match("nvidia|cuda|triton", line)]


def make_venv(folder, python, *path):
    """Run tools/venv.sh where only the given folders are on the PATH."""
    return subprocess.run(["/bin/sh", str(ROOT / "tools" / "venv.sh"), str(folder), str(python)],
                          capture_output=True, text=True, env={"PATH": ":".join(map(str, path))})


@pytest.fixture
def tools(tmp_path):
    """A folder with the few programs that the script uses, and neither apt-get nor uv."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("rm", "id"):
        (folder / name).symlink_to(Path("/bin") / name)
    return folder


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_quick_cases_of_a_sweep_have_every_value_and_the_others_stay():
    cases = diagonal("ab", (1, 2, 3))
    assert [c.values for c in cases] == [(x, n) for x in "ab" for n in (1, 2, 3)]
    assert [c.values for c in cases if not c.marks] == [("a", 1), ("a", 3), ("b", 2)]
    assert [c.values for c in every(2, "abc", first=1) if not c.marks] == [("b",)]


def test_make_test_leaves_out_what_is_slow_and_everything_runs_before_a_change_lands():
    recipes = dict(re.findall(r"^(test[a-z-]*):[^\n]*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.M))
    assert recipes == {"test": '$(PYTEST) -m "not slow" $(ARGS)', "test-all": "$(PYTEST) $(ARGS)"}
    assert (ROOT / ".ci" / "run").read_text().endswith("\nmake test-all\n")


def test_no_limit_of_a_test_is_under_a_minute():
    assert settings.default.deadline is None
    for path in (ROOT / "tests").rglob("*.py"):
        assert all(int(n) >= 60 for n in re.findall(r"\btimeout=([\d_]+)", path.read_text())), path


@LINUX
@pytest.mark.slow
def test_makes_an_environment_with_pip(tmp_path):
    done = make_venv(tmp_path / "venv", sys.executable, "/usr/bin", "/bin")
    assert done.returncode == 0, done.stderr
    pip = [tmp_path / "venv" / "bin" / "python", "-m", "pip", "--version"]
    assert str(tmp_path / "venv") in subprocess.run(pip, capture_output=True, text=True).stdout


@LINUX
def test_says_what_to_install_where_nothing_helps(tmp_path, tools):
    lame = script(tools / "lame", f'[ "$1" = -c ] && exec {sys.executable} "$@"; mkdir -p {tmp_path}/venv; exit 1')
    done = make_venv(tmp_path / "venv", lame, tools)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"sudo apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


@LINUX
def test_uses_what_is_there_where_venv_is_not(tmp_path, tools):
    lame = script(tools / "lame", f'[ "$1" = -c ] && exec {sys.executable} "$@"; exit 1')
    python = script(tools / "made-by-uv", f'exec {sys.executable} "$@"')
    script(tools / "uv", f"for folder; do :; done; /bin/mkdir -p $folder/bin; /bin/ln -s {python} $folder/bin/python")
    done = make_venv(tmp_path / "venv", lame, tools)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "python").resolve() == python


@LINUX
def test_refuses_an_old_or_absent_python(tmp_path, tools):
    old = script(tools / "old", 'case "$2" in *"%d.%d"*) echo 3.8;; *) exit 1;; esac')
    done = make_venv(tmp_path / "venv", old, tools)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is Python 3.8; needed: 3.10 or newer" in done.stderr
    assert "no-python is not installed" in make_venv(tmp_path / "venv", "no-python", tools).stderr
