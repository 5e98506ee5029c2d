"""A study goes network by network, shows what it has, keeps what it recovered, and times once what runs alike."""

import sqlite3
from dataclasses import replace

import pytest
import torch
from test_study import SMALL, Stop, rows

from secateur.core.progress import Progress
from secateur.experiment import recovered
from secateur.experiment.config import StudyConfig, configure
from secateur.experiment.grid import default_folder, load_grid
from secateur.experiment.pace import TYPICAL, Pace
from secateur.experiment.point import Point
from secateur.experiment.recovered import RecoveredNetworks
from secateur.experiment.run import load_run
from secateur.experiment.shared_timings import group_by_timing
from secateur.experiment.stages import STAGES
from secateur.experiment.store import RECOVERED, Store
from secateur.experiment.study import study
from secateur.experiment.sweep import Sweep
from secateur.experiment.trial import Trial, open_bundle
from secateur.measure import noise

BEST = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                   sparsity=(0.0, 0.5, 0.75), seeds=1, epochs=1,
                   best_from=0.5, calibration=64, latency_batches=(1,), latency_seconds=0.001, engine="csr", samples=4)


class Log(Progress):
    """Everything that a study tells, in order."""

    def __init__(self):
        self.events = []

    def outlook(self, found, missing, seconds):
        self.events.append(("outlook", dict(found), dict(missing), seconds))

    def stage(self, name, total):
        self.events.append((name, total))

    def trained(self, record):
        self.events.append(("trained", record["seed"]))


@pytest.fixture(scope="module", autouse=True)
def calm_machine():
    """No timing is noisy, however busy the machine is: nothing is timed again."""
    with pytest.MonkeyPatch.context() as patch:
        for bound in ("LOAD", "SPREAD", "OVERHEAD"):
            patch.setattr(noise, bound, float("inf"))
        yield


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A study with what it told, and how many points and timings each of its reports had."""
    folder, log, reports = tmp_path_factory.mktemp("grown") / "run", Log(), []

    def report(run):
        reports.append((len(run.points), sum(p.latency is not None for p in run.points), run.unfinished))
        return folder / "report.html"

    study(config=SMALL, out=folder, progress=log, report=report)
    return folder, log.events, reports


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    return study(config=BEST, out=tmp_path_factory.mktemp("best") / "run")


def test_the_first_network_is_trained_measured_and_timed_before_the_second(grown):
    steps = SMALL.epochs * 4  # 256 samples in batches of 64
    assert grown[1][1:] == [("train", steps), ("trained", 0), ("measure", 12), ("time", 12),
                            ("train", steps), ("trained", 1), ("measure", 12), ("time", 12)]


def test_the_outlook_counts_what_is_missing_and_what_is_found(grown):
    assert grown[1][0] == ("outlook", {}, {"network": 2, "point": 24, "timing": 24}, None)
    log = Log()
    study(config=replace(SMALL, sparsity=(0.0, 0.5, 0.9, 0.95)), out=grown[0], progress=log)
    name, found, missing, seconds = log.events[0]
    assert (name, found, missing) == ("outlook", {"network": 2, "point": 24, "timing": 24}, {"point": 8, "timing": 8})
    assert seconds > 0


def test_the_report_grows_with_every_stage_and_says_what_is_missing(grown):
    assert [counts[:2] for counts in grown[2]] == [(12, 0), (12, 12), (24, 12), (24, 24)]
    assert grown[2][0][2] == ("Unfinished: 1 of 2 networks trained, 12 of 24 points measured, 0 of 24 timed.")
    assert grown[2][3][2] == ""


def test_the_rows_are_those_of_the_other_order(grown, tmp_path):
    """All networks are trained first, then all points are measured, then all are timed."""
    with Store(tmp_path, create=True) as store, Sweep(load_grid(SMALL), store, Progress()) as sweep:
        pace = Pace(store, Progress(), [{}])
        for stage in (make(sweep, seed) for make in STAGES for seed in (0, 1)):
            if missing := stage.missing():
                stage.run(missing, pace)
    study(config=SMALL, out=tmp_path / "again")
    assert rows(tmp_path) == rows(tmp_path / "again")


@pytest.mark.parametrize("points", [1, 7, 15])
def test_a_stopped_study_leaves_a_report_of_what_is_there(tmp_path, points):
    """The first network has 12 points, so that 15 are 12 that were measured and 3 timings."""
    seen = []
    with pytest.raises(KeyboardInterrupt):
        study(config=SMALL, out=tmp_path / "run", progress=Stop(points),
              report=lambda run: seen.append(run) or tmp_path)
    assert len(seen[-1].points) == min(points, 12)
    assert sum(p.latency is not None for p in seen[-1].points) == max(0, points - 12)


def test_a_study_stopped_before_its_first_point_has_no_report(tmp_path):
    class StopAtOnce(Progress):
        def step(self):
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        study(config=SMALL, out=tmp_path / "run", progress=StopAtOnce(), report=seen.append)
    assert seen == []


def test_only_the_first_networks_are_timed_unless_asked(tmp_path):
    run = study(config=replace(SMALL, timed_seeds=1, sparsity=(0.5,)), out=tmp_path / "run")
    assert {(p.seed, p.latency is None) for p in run.points} == {(0, False), (1, True)}
    assert run.unfinished == ""


def point(granularity, criterion, recovery="none", sparsity=0.5):
    return Point(granularity, criterion, "layer", sparsity, (), 0, recovery)


def figures(*removed, parameters=100):
    return {"layers": [{"name": str(i), "items": 10, "removed": n} for i, n in enumerate(removed)],
            "removed": sum(removed), "parameters": parameters, "flops": 2 * parameters}


def test_what_runs_alike_is_timed_once():
    """By hand: smaller networks of one shape share, a control takes a method's timing, methods have their own."""
    plain, random, best_ = point("weight", "magnitude"), point("weight", "random"), point("weight", "magnitude", "best")
    l2, any_, chosen = point("neuron", "l2"), point("neuron", "random"), point("neuron", "elimination", "best")
    other, whole = point("neuron", "l2", sparsity=0.6), point("weight", "magnitude", sparsity=0.0)
    rest = point("weight", "random", sparsity=0.9)
    groups = group_by_timing({
        random: figures(5, 5), plain: figures(5, 5), best_: figures(5, 5), any_: figures(5, 5, parameters=50),
        l2: figures(5, 5, parameters=50), chosen: figures(5, 5, parameters=50),
        other: figures(6, 6, parameters=40), whole: figures(0, 0), replace(whole, criterion="random"): figures(0, 0),
        rest: figures(9, 9)})
    assert sorted(map(sorted_names, groups)) == sorted(map(sorted_names, [
        [plain, random], [best_], [l2, any_, chosen], [other], [whole, replace(whole, criterion="random")], [rest]]))
    assert {group[0] for group in groups} == {plain, best_, l2, other, whole, rest}


def test_a_control_that_leaves_other_zeros_is_timed_itself():
    """As many blocks went, but of other sizes: in the plan, or in the network that a recovery made of it."""
    plain, random, same = point("4x1", "magnitude"), point("4x1", "random"), point("4x1", "magnitude", "reinitialised")
    again = point("4x1", "random", "reinitialised")
    rows = {one: {**figures(5, 5), "nonzeros": left} for one, left in ((plain, 60), (random, 62), (same, 60),
                                                                       (again, 61))}
    for figure, weights in zip(rows.values(), (20, 18, 20, 20), strict=True):
        figure["layers"][0]["removed_weights"] = weights
    assert sorted(map(sorted_names, group_by_timing(rows))) == sorted(map(sorted_names, [
        [plain, same], [random], [again]]))


def sorted_names(group):
    return sorted(map(str, group))


def test_rows_say_whose_timing_they_share(best):
    by = {(p.granularity, p.criterion, p.recovery, p.sparsity): p for p in best.points}
    plain, random = by["neuron", "l2", "none", 0.5], by["neuron", "random", "none", 0.5]
    assert random.latency == plain.latency and plain.timed_as == ""
    assert random.timed_as == "neuron by l2, scope layer, sparsity 0.5, seed 0"
    assert by["neuron", "elimination", "best", 0.5].timed_as == random.timed_as
    assert by["weight", "random", "none", 0.75].timed_as == "weight by magnitude, scope layer, sparsity 0.75, seed 0"
    assert by["weight", "magnitude", "best", 0.75].timed_as == by["weight", "magnitude", "none", 0.75].timed_as == ""
    assert by["weight", "random", "none", 0.0].latency == by["weight", "magnitude", "none", 0.0].latency


def test_a_recovered_network_is_not_recovered_again_for_its_timing(best, tmp_path, monkeypatch):
    with sqlite3.connect(best.folder / "rows.sqlite") as db:
        db.execute("DELETE FROM rows WHERE kind = 'latency'")
    open_bundle.cache_clear()  # a new process has no networks in memory
    monkeypatch.setattr(Trial, "_recover", lambda *_: pytest.fail("recovered again"))
    again = study(config=BEST, out=best.folder)
    assert all(p.latency for p in again.points)
    assert len(list((best.folder / RECOVERED).rglob("*.safetensors"))) == 4


@pytest.mark.parametrize(("granularity", "criterion"), [("weight", "magnitude"), ("neuron", "elimination")])
def test_a_kept_network_comes_back_bit_for_bit(best, tmp_path, granularity, criterion):
    grid = load_grid(BEST)
    place = grid.point(granularity, criterion, "layer", 0.75, 0, "best")
    with Store(best.folder) as store, Sweep(grid, store, Progress()) as sweep:
        trial = open_bundle(replace(sweep.bundle(0), key="fresh", recovered=None))
        made, kept = trial.cut(place)[1], sweep_kept(sweep, grid).load(place)
    assert type(kept) is type(made)
    for (name, tensor), (other, same) in zip(made.state_dict().items(), kept.state_dict().items(), strict=True):
        assert name == other and torch.equal(tensor, same)


def sweep_kept(sweep, grid):
    return RecoveredNetworks(sweep.bundle(0).recovered, sweep.bundle(0).trained, grid.task.make_model)


def test_what_does_not_fit_or_is_damaged_is_not_kept(tmp_path, monkeypatch):
    place, net = point("weight", "magnitude", "best"), torch.nn.Linear(4, 4)
    kept = RecoveredNetworks(tmp_path / "recovered", "key", lambda: torch.nn.Linear(4, 4))
    monkeypatch.setattr(recovered, "MOST_BYTES", 10)
    kept.keep(place, net)
    assert kept.load(place) is None
    monkeypatch.setattr(recovered, "MOST_BYTES", 1 << 20)
    kept.keep(place, net)
    assert torch.equal(kept.load(place).weight, net.weight)
    (file,) = (tmp_path / "recovered").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:40])
    assert kept.load(place) is None


def test_the_time_left_is_that_of_the_steps_ahead(tmp_path):
    """Two steps of training took 3 s each; of the other kinds nothing is known but how they compare."""
    now = iter([0.0, 0.0, 3.0, 6.0])
    told = []

    class Told(Progress):
        def left(self, seconds):
            told.append(seconds)

    with Store(tmp_path, create=True) as store:
        pace = Pace(store, Told(), [{"train": 10}, {"time": 2}], clock=lambda: next(now))
        assert pace.left() is None
        pace.begin(0, {"train": 4})
        pace.step("train")
        pace.step("train")
        timing = 2 * 3.0 * TYPICAL["time"] / TYPICAL["train"]
        assert told == [pytest.approx(3 * 3.0 + timing), pytest.approx(2 * 3.0 + timing)]
        pace.end()
        later = Pace(store, Told(), [{"train": 5}])
        assert later.left() == pytest.approx(15.0)


def test_quick_is_a_preset_that_other_settings_win_over():
    quick, options = configure({"quick": True})
    assert (quick.seeds, quick.epochs, len(quick.sparsity), quick.latency_batches) == (1, 2, 5, (1, 64))
    assert quick.draft and options.quick
    assert len([s for s in quick.sparsity if s >= quick.best_from]) == 2
    assert set(quick.granularity) == {"weight", "neuron"}
    own, _ = configure({"quick": True, "epochs": 7}, {"seeds": "2", "latency_batches": ""})
    assert (own.epochs, own.seeds, own.latency_batches, own.sparsity) == (7, 2, (), quick.sparsity)
    assert configure({"quick": True}, {"quick": False})[0] == StudyConfig()
    assert str(default_folder(quick)) != str(default_folder(StudyConfig()))


@pytest.mark.parametrize("settings", [{}, {"epochs": 5, "seeds": 3}, {"data": "digits", "best_from": 0.7}])
def test_the_command_of_a_draft_makes_the_same_draft(settings):
    config, _ = configure({"quick": True}, settings)
    words = config.command("x").split()[2:]
    assert words[0] == "--quick"
    flags = {words[i][2:].replace("-", "_"): words[i + 1] for i in range(1, len(words), 2)}
    again, _ = configure({"quick": True}, flags)
    assert again == config


def test_a_draft_says_so(tmp_path):
    from secateur import report

    config, _ = configure({"quick": True, "model": "support:tiny", "data": "support:blobs", "epochs": 1,
                           "latency_seconds": 0.001, "calibration": 64})
    run = study(config=config, out=tmp_path / "run")
    assert load_run(tmp_path / "run").draft
    report.write(run)
    assert "<title>Draft: " in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "summary.md").read_text().startswith("# Draft: ")
    assert not (tmp_path / "run" / "figures").exists()  # a draft is to be there soon
