"""The same sweep on a real Dask scheduler with workers on loopback, some of which are lost."""

import functools
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter

import pytest
from clusters import PATIENCE_S, cluster, kill, until
from support import TESTS, secateur
from test_study import SMALL, rows

from secateur.core.errors import MissingExtraError, SecateurError
from secateur.experiment.cluster import WORKERLESS_S
from secateur.experiment.grid import load_grid
from secateur.experiment.run import load_run
from secateur.experiment.study import study

pytest.importorskip("distributed")

POINTS = list(map(str, load_grid(SMALL).points()))
HELD = POINTS[4]
WORDS = ["study", "--model", "support:tiny", "--data", "support:blobs", "--sparsity", "0,0.5,0.9", "--seeds", "2",
         "--epochs", "2", "--latency-batches", "1,8", "--latency-seconds", "0.001", "--engine", "csr", "--samples", "4",
         "--no-best", "--timed-seeds", "2", "--uncut-bits", "", "--out", "run"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The rows of a study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("here")
    study(config=SMALL, out=folder)
    return rows(folder)


IMPATIENT_S = 15
IMPATIENT = f"""import sys
from secateur.cli import main
from secateur.experiment import cluster
cluster.WORKERLESS_S, sys.argv[0] = {IMPATIENT_S}, "secateur"
main()
"""


def begin(folder, address, start=("-m", "secateur")):
    """A study in a process of its own; ``start`` is what Python runs, :data:`IMPATIENT` a study that waits less."""
    path = os.pathsep.join(map(str, [TESTS, TESTS.parent / "src"]))
    return subprocess.Popen([sys.executable, *start, *WORDS, "--backend", "dask", "--address", address], cwd=folder,
                            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler))


def end(process):
    """Exit code and errors of a study."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def keys(folder):
    return {key for key, *_ in rows(folder)}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_a_cluster_makes_the_same_rows(tmp_path, expected, threads):
    with cluster(tmp_path / "cluster", threads=threads) as dask:
        study(config=SMALL, out=tmp_path / "dask", backend="dask", address=dask.address)
        assert sorted(dask.measured()) == sorted(POINTS)
    assert rows(tmp_path / "dask") == expected


@pytest.mark.slow
def test_no_scheduler_is_one_line(tmp_path):
    done = secateur("study", "--model", "support:tiny", "--data", "support:blobs", "--backend", "dask",
                    "--address", "tcp://127.0.0.1:9", "--epochs", "1", "--seeds", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_address_without_dask_is_refused(tmp_path):
    with pytest.raises(SecateurError, match="--backend dask with --address"):
        study(config=SMALL, out=tmp_path / "none", address="tcp://127.0.0.1:9")


def test_a_missing_package_of_a_worker_reaches_the_study():
    error = MissingExtraError("sklearn", "data", "data 'digits'")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.slow
@pytest.mark.parametrize("held", [POINTS[0], HELD, POINTS[-1]])
def test_a_worker_that_is_killed_costs_nothing(tmp_path, expected, held):
    with cluster(tmp_path / "cluster", point=held, does="waits") as dask:
        process = begin(tmp_path, dask.address)
        until(dask.began, process)
        kill(dask.began()[0])
        until(lambda: len(dask.began()) == 2, process)
        dask.go()
        assert end(process) == (0, "")
        assert Counter(dask.measured())[held] == 2
    assert rows(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_worker_that_comes_in_place_of_the_last_one_goes_on(tmp_path, expected):
    """What the lost worker held, networks and data, is computed again."""
    with cluster(tmp_path / "cluster", workers=1, point=HELD, does="waits") as dask:
        process = begin(tmp_path, dask.address)
        until(dask.began, process)
        kill(dask.began()[0])
        dask.start_worker()
        until(lambda: len(dask.began()) == 2, process)
        dask.go()
        assert end(process) == (0, "")
    assert rows(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_point_that_kills_its_workers_is_left_out_and_the_others_are_finished(tmp_path, expected):
    """Each worker that measures it dies: the first time beside others, the second time alone."""
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster(tmp_path / "cluster", workers=3, point=HELD, does="dies", settings=settings) as dask:
        code, errors = end(begin(tmp_path, dask.address))
        assert len(dask.began()) == 2
    assert code == 2 and errors.count("\n") == 1
    assert f"left out of the study: {HELD} (1 workers died while it ran)" in errors
    left_out = [row for row in expected if row not in rows(tmp_path / "run")]
    assert len(left_out) == 1 and '"criterion":"random"' in left_out[0][2]
    run = load_run(tmp_path / "run")
    assert len(run.points) == len(POINTS) - 1 and all(point.latency for point in run.points)
    assert secateur("report", "run", cwd=tmp_path).returncode == 0
    with cluster(tmp_path / "second") as dask:
        assert end(begin(tmp_path, dask.address)) == (0, "")
        assert dask.measured() == [HELD]
    assert rows(tmp_path / "run") == expected


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scheduler", "workers"])
def test_a_cluster_that_is_lost_is_one_line_and_the_same_command_goes_on(tmp_path, expected, what):
    with cluster(tmp_path / "cluster", point=HELD, does="waits") as dask:
        process = begin(tmp_path, dask.address, start=("-c", IMPATIENT))
        until(dask.began, process)
        for lost in [dask.scheduler] if what == "scheduler" else dask.processes[1:]:
            lost.kill()
        code, errors = end(process)
    assert code == 2 and errors.count("\n") == 1
    assert {"scheduler": "is lost", "workers": f"has had no workers for {IMPATIENT_S} seconds"}[what] in errors
    assert "run the same command to continue" in errors
    assert WORKERLESS_S == 60, "docs/study.md says so"
    before = keys(tmp_path / "run")
    with cluster(tmp_path / "second") as dask:
        assert end(begin(tmp_path, dask.address)) == (0, "")
        assert sorted(dask.measured() + [p for p in POINTS if p not in dask.measured()]) == sorted(POINTS)
    assert before < keys(tmp_path / "run")
    assert rows(tmp_path / "run") == expected


@pytest.mark.slow
def test_ctrl_c_in_the_middle_keeps_every_finished_row(tmp_path, expected):
    with cluster(tmp_path / "cluster", point=HELD, does="waits") as dask:
        process = begin(tmp_path, dask.address)
        until(dask.began, process)
        process.send_signal(signal.SIGINT)
        code, errors = end(process)
        assert code == 130 and errors.count("\n") == 1
        dask.go()
        assert end(begin(tmp_path, dask.address)) == (0, "")
    assert rows(tmp_path / "run") == expected


WRONG = {"torch": "import torch; torch.version.__version__ = '1.0.0'; torch.__version__ = '1.0.0'",
         "Python": "import platform; platform.python_version = lambda: '3.1.2'",
         "secateur": "from secateur.core import version; version.__version__ = cluster.__version__ = '9.9'"}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_worker_of_another_version_is_refused_before_anything_is_done(tmp_path, name):
    with cluster(tmp_path / "cluster", workers=1, more=WRONG[name]) as dask:
        code, errors = end(begin(tmp_path, dask.address))
    assert code == 2 and errors.count("\n") == 1
    assert f"has {name} " in errors and "allowed is the same" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_worker_of_another_version_that_comes_later_is_refused(tmp_path, expected):
    with cluster(tmp_path / "cluster", workers=1, point=HELD, does="waits") as dask:
        process = begin(tmp_path, dask.address)
        until(dask.began, process)
        kill(dask.began()[0])
        dask.start_worker(HOOK_MORE=WRONG["torch"])
        code, errors = end(process)
        assert code == 2 and errors.count("\n") == 1
        assert "has torch 1.0.0" in errors
        dask.go()
        dask.processes[-1].kill()
        dask.start_worker()
        dask.processes[-2].wait()
        dask.wait_for_workers(1)
        assert end(begin(tmp_path, dask.address)) == (0, "")
    assert rows(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_worker_that_cannot_import_the_network_is_one_line(tmp_path):
    """The point is not stored as one that cannot be cut."""
    hidden = "import sys; sys.modules['support'] = None"
    with cluster(tmp_path / "cluster", workers=1, more=hidden) as dask:
        code, errors = end(begin(tmp_path, dask.address))
    assert code == 2 and errors.count("\n") == 1
    assert "Dask worker tcp://" in errors and "support" in errors
    assert not [row for row in rows(tmp_path / "run") if row[1] == "point"]
