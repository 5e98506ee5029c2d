"""A study killed at any moment and started again ends with the rows of one that was left alone."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest
from support import TESTS, sweep
from test_study import SMALL, rows

from secateur.experiment.study import study

SCRIPT = """
import sys
from test_study import SMALL
from secateur.experiment.study import study
study(config=SMALL, out=sys.argv[1])
"""


def start(folder):
    path = os.pathsep.join(map(str, [TESTS, TESTS / "unit", TESTS.parent / "src"]))
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})


def stored(folder):
    import sqlite3

    try:
        with sqlite3.connect(f"file:{folder / 'rows.sqlite'}?mode=ro", uri=True) as db:
            return db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]
    except sqlite3.Error:
        return 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of a study that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    study(config=SMALL, out=folder)
    return rows(folder)


@pytest.mark.parametrize("after", sweep([1, 3, 20, 40], {20}.__contains__))
def test_killed_and_started_again(tmp_path, whole, after):
    process = start(tmp_path / "killed")
    deadline = time.time() + 300
    while stored(tmp_path / "killed") < after and process.poll() is None and time.time() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert stored(tmp_path / "killed") >= after
    study(config=SMALL, out=tmp_path / "killed")
    assert rows(tmp_path / "killed") == whole


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal of POSIX")
def test_interrupted_by_the_keyboard(tmp_path):
    words = ["study", "--model", "support:tiny", "--data", "support:blobs", "--sparsity", "0,0.5,0.9", "--seeds", "1",
             "--epochs", "1", "--latency-batches", "1", "--latency-seconds", "60", "--out", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": os.pathsep.join(map(str, [TESTS, TESTS.parent / "src"]))}
    process = subprocess.Popen([sys.executable, "-m", "secateur", *words], cwd=tmp_path, env=environment, text=True,
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                               preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL))
    while stored(tmp_path / "run") < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "To go on, run again: secateur study --model support:tiny" in errors
    assert stored(tmp_path / "run") >= 5
