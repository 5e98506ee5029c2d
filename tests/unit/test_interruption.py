"""Ctrl-C at any moment of a command: one line and exit code 130, never a traceback."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import every

from secateur.core import interruption

SOURCE = Path(__file__).parent.parent.parent / "src"
HOOK = """
import importlib.machinery, os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STRUCK_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""
SCRIPT = """
import re
import sys
from secateur.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
posix = pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal of POSIX")


def struck(folder, words, module, handler=signal.default_int_handler):
    """A process that gets Ctrl-C where it begins to import a module."""
    (folder / "sitecustomize.py").write_text(HOOK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [folder, SOURCE])), "STRUCK_AT": module,
                   "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, text=True, capture_output=True,
                          timeout=300, preexec_fn=functools.partial(signal.signal, signal.SIGINT, handler))


@posix
@pytest.mark.parametrize("module", every(3, ["torch.nn", "secateur.runtime", "torch", "secateur.cli",
                                             "secateur.cli.main", "secateur.models.resolve"]))
def test_it_is_one_line_from_the_first_import_to_the_work(tmp_path, module):
    done = struck(tmp_path, ["-m", "secateur", "info", "mlp"], module)
    assert (done.returncode, done.stdout) == (130, "" if ".cli" in module else "secateur info: mlp\n")
    assert done.stderr == ("secateur: interrupted; nothing was written. To start over, run again: secateur info mlp\n")


@posix
@pytest.mark.parametrize("module", every(2, ["torch", "typer"]))
def test_the_installed_script_does_the_same(tmp_path, module):
    (tmp_path / "secateur").write_text(SCRIPT)
    done = struck(tmp_path, ["secateur", "study", "--seeds", "2"], module)
    assert done.returncode == 130
    assert done.stderr == ("secateur: interrupted; every finished row is kept. To continue, run again: secateur study "
                           "--seeds 2\n")


@posix
def test_where_signals_are_ignored_the_command_goes_on(tmp_path):
    done = struck(tmp_path, ["-m", "secateur", "--version"], "typer", signal.SIG_IGN)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_a_program_that_imports_the_package_keeps_its_own_ctrl_c(tmp_path):
    code = "try:\n    import secateur; secateur.prune\nexcept KeyboardInterrupt:\n    print('mine')"
    done = struck(tmp_path, ["-c", code], "typing_extensions")
    assert (done.returncode, done.stdout) == (0, "mine\n")


@pytest.mark.parametrize(("typed", "argv", "command"), [
    ("python -m secateur info", "-m info", True), ("python -msecateur", "-m", True),
    ("python -m secateur.bench.child x", "-m x", False), ("python -m pytest", "-m", False),
    ("python /bin/secateur -m pytest", "/bin/secateur -m pytest", True), ("python secateur.exe", "secateur.exe", True),
    ("python mine.py secateur", "mine.py secateur", False), ("python", " ", False)])
def test_what_is_the_command(monkeypatch, typed, argv, command):
    monkeypatch.setattr(sys, "orig_argv", typed.split())
    monkeypatch.setattr(sys, "argv", argv.split() or [""])
    assert interruption.is_command() == command
