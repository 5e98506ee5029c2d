"""A study killed at any moment and started again ends with the rows of one that was left alone."""

import functools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from support import TESTS, sweep
from test_study import SMALL, rows

from secateur.core.errors import RunError
from secateur.experiment.store import Store
from secateur.experiment.study import study

KILLS, KILLS_A_RUN = int(os.environ.get("SECATEUR_KILLS", "12")), 4
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
    try:
        with sqlite3.connect(f"file:{folder / 'rows.sqlite'}?mode=ro", uri=True) as db:
            return db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]
    except sqlite3.Error:
        return 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of a study that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    study(config=SMALL, out=folder)
    return folder


@pytest.fixture(scope="module")
def whole(alone):
    """Its rows."""
    return rows(alone)


def keys(folder):
    """The keys of all rows, timings too."""
    with sqlite3.connect(folder / "rows.sqlite") as db:
        return sorted(db.execute("SELECT key FROM rows"))


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
    words = ["study", "--quick", "--no-best", "--model", "support:tiny", "--data", "support:blobs", "--sparsity",
             "0,0.5,0.9", "--epochs", "1", "--latency-batches", "1", "--latency-seconds", "60", "--out", "run"]
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
    assert "To continue, run again: secateur study --quick --no-best --model support:tiny" in errors
    assert stored(tmp_path / "run") >= 5
    assert f"the report so far is {(tmp_path / 'run' / 'report.html').as_uri()};" in errors
    assert "Unfinished: " in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(max(1, KILLS // KILLS_A_RUN)))
def test_killed_at_random_moments_again_and_again(tmp_path, alone, whole, seed):
    """``SECATEUR_KILLS`` says how many kills there are in all."""
    draw, folder = random.Random(seed), tmp_path / "killed"
    for _ in range(KILLS_A_RUN):
        before, process = stored(folder), start(folder)
        goal = before + draw.choice([0, 1, 2, 5, 15])
        while stored(folder) < goal and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.random() * draw.choice([0.001, 0.1, 10]))
        process.kill()
        process.communicate()
        assert stored(folder) >= before
    study(config=SMALL, out=folder)
    assert rows(folder) == whole
    assert keys(folder) == keys(alone)


def test_a_second_study_in_the_same_folder_is_refused_and_changes_nothing(tmp_path):
    with Store(tmp_path / "run", create=True) as store, store.alone():
        with pytest.raises(RunError, match="another study is at work in .*--out"):
            study(config=SMALL, out=tmp_path / "run")
        assert stored(tmp_path / "run") == 0 and store.meta("run") is None


@pytest.mark.slow
def test_several_studies_started_at_once_in_one_folder_lose_nothing(tmp_path, alone, whole):
    processes = [start(tmp_path / "run") for _ in range(3)]
    errors = [process.communicate(timeout=500)[1].decode() for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes
    assert all("another study is at work" in error for error, code in zip(errors, codes, strict=True) if code)
    assert rows(tmp_path / "run") == whole
    assert keys(tmp_path / "run") == keys(alone)
