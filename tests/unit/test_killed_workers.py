"""Worker processes of this machine that are killed, as by a system that is short of memory, cost no row."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky import get_reusable_executor
from test_study import rows
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.experiment import backends
from secateur.experiment.config import StudyConfig
from secateur.experiment.study import study


def deadly(weight: Tensor, _: Any) -> Tensor:
    """The magnitude; the process dies as often as it is told to, but for the one that tells."""
    folder = Path(os.environ["DEADLY_FOLDER"])
    if os.getpid() != int(os.environ["DEADLY_SPARES"]):
        died = len(list(folder.glob("died-*")))
        if died < int(os.environ["DEADLY_TIMES"]):
            (folder / f"died-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return weight.abs()


CONFIG = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                     sparsity=(0.5,), seeds=1, epochs=1, best=False,
                     granularity=("weight",), criterion=("magnitude", "test_killed_workers:deadly"), latency_batches=())


@pytest.fixture
def dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def setting(times: int) -> Path:
        for name, value in (("FOLDER", tmp_path), ("SPARES", os.getpid()), ("TIMES", times)):
            monkeypatch.setenv(f"DEADLY_{name}", str(value))
        # Processes that are kept for the next study have the environment of the one before.
        get_reusable_executor().shutdown(wait=True)
        return tmp_path

    return setting


def test_a_worker_that_is_killed_costs_nothing(dies: Any) -> None:
    folder = dies(1)
    study(config=CONFIG, out=folder / "killed", jobs=2)
    assert (folder / "died-0").exists()
    study(config=CONFIG, out=folder / "whole")
    assert rows(folder / "killed") == rows(folder / "whole")


@pytest.mark.slow
def test_a_point_that_kills_its_workers_is_named_and_left_out(dies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "FAILURES", 0)
    folder = dies(99)
    # The point dies beside the other one once, and once alone.
    with pytest.raises(SecateurError, match="left out of the study: weight by test_killed_workers:deadly") as caught:
        study(config=CONFIG, out=folder / "run", jobs=2)
    assert str(caught.value).count("(2 workers died while it ran)") == 1
    kept = rows(folder / "run")
    assert ['"criterion":"magnitude"' in settings for _, kind, settings, _ in kept if kind == "point"] == [True]
    monkeypatch.setenv("DEADLY_TIMES", "0")
    study(config=CONFIG, out=folder / "run", jobs=2)
    study(config=CONFIG, out=folder / "whole")
    assert rows(folder / "run") == rows(folder / "whole")


def die() -> None:
    os._exit(1)


class Dies:
    """What cannot be brought into a worker."""

    def __reduce__(self) -> Any:
        return die, ()


def test_workers_that_die_before_they_measure_end_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "FAILURES", 1)
    job: Any = (Dies(), None)
    with pytest.raises(SecateurError, match="2 times worker processes died before they began to measure"):
        list(backends._loky([job], 2))


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a process that takes connections and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = list[Any]()

        def take() -> None:
            try:
                while True:
                    taken.append(server.accept())
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    for connection, _ in taken:
        connection.close()


def test_an_address_that_takes_the_connection_and_never_speaks_is_one_line(
        mute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    from secateur.experiment import cluster

    monkeypatch.setattr(cluster, "ANSWER_S", 1)
    with pytest.raises(SecateurError, match=f"no Dask scheduler answers at '{mute}' within 1 seconds") as caught:
        study(config=CONFIG, out=tmp_path / "run", backend="dask", address=mute)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
