"""Runs, files and checkpoints that an earlier state of the code wrote load, and rows keep their keys.

``tests/fixtures/stored`` was written on 2026-11-28, before the code was laid out anew in rooms; nothing in it may be
made again by newer code.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest
import torch
from support import sweep
from torch import nn

import secateur as sc
from secateur import data, report
from secateur.core.progress import Progress
from secateur.experiment.config import StudyConfig
from secateur.experiment.grid import load_grid
from secateur.experiment.store import Store
from secateur.experiment.sweep import Sweep
from secateur.training import checkpoint
from secateur.training.schedules import Polynomial

NOT_THEN = {"uncut_bits": ""}
"""What a study measures besides today."""
STORED = Path(__file__).parent.parent / "fixtures" / "stored"
KEYS = json.loads((STORED / "keys.json").read_text())
FILES = json.loads((STORED / "files.json").read_text())


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 12), nn.ReLU(), nn.Linear(12, 4))


@pytest.fixture(scope="module", autouse=True)
def data_once():
    """Data are read once for all keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "resolve", functools.cache(data.resolve))
        yield


@pytest.fixture
def run_folder(tmp_path):
    return Path(shutil.copytree(STORED / "run", tmp_path / "run"))


def test_a_stored_run_is_read_as_it_was_written(run_folder):
    run, was = sc.load_run(run_folder), json.loads((STORED / "run.json").read_text())
    points = [{k: p[k] for k in was["points"][0]} for p in run.points]
    for point in was["points"]:
        # What was called best then is called refit now.
        point["recovery"] = "refit" if point["recovery"] == "best" else point["recovery"]
    scans = [{k: s[k] for k in was["scans"][0]} for s in run.scans]
    assert (points, scans) == (was["points"], was["scans"])
    assert (run.command, run.config, run.refused) == (was["command"], was["config"], was["refused"])


@pytest.mark.parametrize("drawn", sweep([False, True], lambda drawn: not drawn))
def test_a_stored_run_is_reported(run_folder, drawn, request):
    if not drawn:
        request.getfixturevalue("blank_figures")
    written = report.write(sc.load_run(run_folder))
    assert "random" in (run_folder / "summary.md").read_text()
    assert all(path.stat().st_size for path in written.files)


@pytest.fixture
def best_of_then(monkeypatch):
    """Recovery best as it was: without a version and without steps of distilling."""
    monkeypatch.setattr("secateur.experiment.grid.recovery_settings", lambda *_: {})


def test_best_of_today_has_a_key_of_its_own_and_other_recoveries_have_not():
    grid = load_grid(StudyConfig(model="lenet-300-100", data="digits", recovery=("none", "best", "reconstruct")))
    settings = {p.recovery: grid.point_settings(p) for p in grid.points()}
    assert settings["best"]["recovery_version"] == 3 and settings["best"]["distil_steps"] == 160
    for name in ("none", "reconstruct"):
        assert not {"recovery_version", "distil_steps"} & set(settings[name])


@pytest.mark.parametrize("number", range(len(KEYS)))
@pytest.mark.usefixtures("best_of_then")
def test_rows_keep_their_keys(number, tmp_path):
    """A study that goes on finds what it has measured: every key is that of the same settings then."""
    was = KEYS[number]
    with Store(tmp_path, create=True) as store:
        sweep = Sweep(load_grid(StudyConfig.make(was["settings"], NOT_THEN)), store, Progress())
        keys = {k: "".join(x[:8] for x in v) if isinstance(v, list) else v[:8] for k, v in sweep.keys().items()}
    # What later versions keep besides has a key of its own.
    assert {name: keys[name] for name in was["keys"]} == was["keys"]


@pytest.mark.usefixtures("best_of_then")
def test_the_stored_run_has_nothing_left_to_measure(run_folder):
    with Store(run_folder) as store:
        kept = store.meta("run")
        sweep = Sweep(load_grid(StudyConfig.make(kept["config"], NOT_THEN)), store, Progress())
    assert {name: sweep.keys()[name] for name in ("trained", "points", "scans", "latency", "anatomy", "samples")} == {
        name: kept[name] for name in ("trained", "points", "scans", "latency", "anatomy", "samples")}


@pytest.mark.usefixtures("best_of_then")
def test_fewer_bits_only_add_rows_to_those_of_a_stored_run(run_folder):
    with Store(run_folder) as store:
        kept = store.meta("run")
        sweeps = [Sweep(load_grid(StudyConfig.make(kept["config"], bits)), store, Progress())
                  for bits in ({}, {"bits": "32,8"})]
        usual, both = ([point for point in sweep.points if point.bits != 32] for sweep in sweeps)
        assert [point.bits for point in usual] == [16, 8] and all(point.sparsity == 0 for point in usual)
        assert len(both) == len(kept["points"]) + 1
        for sweep in sweeps:
            assert [key for key in sweep.keys()["points"] if store.has(key)] == kept["points"]


@pytest.mark.parametrize("name", sorted(FILES["outputs"]))
def test_stored_files_load_and_compute_the_same(name):
    loaded = sc.load(STORED / f"{name}.safetensors", network)
    torch.testing.assert_close(loaded(torch.tensor(FILES["x"])), torch.tensor(FILES["outputs"][name]))


def test_a_stored_checkpoint_goes_on_to_where_it_would_have_come():
    was, net = json.loads((STORED / "at-10.json").read_text()), network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner, x = sc.Pruner(net, Polynomial(0.8, end=8, every=2), optimizer, skip=()), torch.tensor(was["x"])
    checkpoint.load(STORED / "at-5.pt", {"model": net, "optimizer": optimizer, "pruner": pruner})
    for _ in range(5):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        pruner.step()
    assert {n: int((p == 0).sum()) for n, p in net.named_parameters()} == was["zeros"]
    torch.testing.assert_close(net(x), torch.tensor(was["outputs"]))
