"""The same sweep on a real Dask scheduler with two workers on loopback."""

import os
import subprocess
import sys
import time

import pytest
from support import TESTS, secateur
from test_study import SMALL, rows

from secateur.core.errors import SecateurError
from secateur.experiment.study import study

pytest.importorskip("distributed")


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two worker processes, as a user starts them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "asyncio",
                   "PYTHONPATH": os.pathsep.join(map(str, [TESTS, TESTS / "unit", TESTS.parent / "src"]))}
    file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
             "--scheduler-file", str(file), "--no-dashboard", "--no-show"]
    work = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1",
            "--no-dashboard", "--local-directory", str(tmp_path), "--no-nanny"]
    processes = [subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                 for words in (start, work, work)]
    try:
        yield wait_for(file)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(file, seconds=300):
    import json

    from distributed import Client

    deadline = time.time() + seconds
    while not file.exists() and time.time() < deadline:
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    with Client(address, timeout=seconds) as client:
        client.wait_for_workers(2, timeout=seconds)
    return address


@pytest.mark.slow
def test_a_cluster_makes_the_same_rows(cluster, tmp_path):
    study(config=SMALL, out=tmp_path / "dask", backend="dask", address=cluster)
    study(config=SMALL, out=tmp_path / "here")
    assert rows(tmp_path / "dask") == rows(tmp_path / "here")


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
