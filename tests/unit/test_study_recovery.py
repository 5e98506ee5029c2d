"""Recoveries, criteria with data, and controls as settings of a study's rows."""

from dataclasses import replace

import pytest

import secateur as sc
from secateur import report
from secateur.experiment.point import Point
from secateur.experiment.store import key_of
from secateur.report.gather import gather_results

SETTINGS = {"model": "support:tiny", "data": "support:blobs", "uncut_bits": (), "sparsity": (0.0, 0.5),
            "criterion": ("wanda", "energy"),
            "recovery": ("none", "best", "reconstruct"), "seeds": 1, "epochs": 1, "latency_batches": (),
            "calibration": 100}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    return sc.study(config=sc.StudyConfig(**SETTINGS, controls=True), out=folder / "run")


def found(run):
    return {(p["granularity"], p["criterion"], p["recovery"], p["sparsity"]): p for p in run.points}


def test_every_criterion_is_crossed_with_every_recovery_that_heeds_it(run):
    kinds = {(g, c, r) for g, c, r, _ in found(run)}
    assert {r for g, c, r in kinds if c == "wanda"} == {"none", "reconstruct", "reinitialised"}
    assert {r for g, c, r in kinds if c == "energy"} == {"none", "best", "reconstruct", "reinitialised"}
    assert {(g, r) for g, c, r in kinds if c == "random"} == {
        ("weight", "none"), ("weight", "reconstruct"), ("neuron", "none"), ("neuron", "best"),
        ("neuron", "reconstruct")}
    assert {(g, c) for g, c, _ in kinds} == {("weight", "wanda"), ("weight", "random"), ("neuron", "energy"),
                                             ("neuron", "random")}


def test_controls_are_marked(run):
    assert {(p["criterion"], p["recovery"]) for p in run.points if p["control"]} == {
        ("random", "none"), ("random", "best"), ("random", "reconstruct"), ("wanda", "reinitialised"),
        ("energy", "reinitialised")}


def test_a_recovery_keeps_the_sizes_and_changes_the_figures(run):
    rows = found(run)
    plain, best, anew = (rows["weight", "wanda", r, 0.5] for r in ("none", "reconstruct", "reinitialised"))
    assert plain["nonzeros"] == best["nonzeros"] == anew["nonzeros"]
    assert len({plain["loss"], best["loss"], anew["loss"]}) == 3
    small, scratch = (rows["neuron", "energy", r, 0.5] for r in ("none", "reinitialised"))
    assert small["parameters"] == scratch["parameters"] < plain["parameters"]


def test_what_is_there_is_not_computed_again_and_plain_rows_keep_their_keys(run, monkeypatch):
    from secateur.experiment import backends

    asked = []
    monkeypatch.setattr(backends, "run", lambda jobs, *_: asked.extend(jobs) or iter(()))
    sc.study(config=sc.StudyConfig(**SETTINGS, controls=True), out=run.folder)
    assert asked == []
    point = Point("weight", "magnitude", "layer", 0.5, (), 0)
    assert set(point.settings()) == {"granularity", "criterion", "scope", "sparsity", "skip", "seed"}
    assert key_of(point.settings()) != key_of(replace(point, recovery="best", samples=9).settings())


def test_the_report_tells_them_apart(run):
    curves = gather_results(run).curves
    assert len({c.method.name for c in curves}) == len(curves)
    assert any("best" in c.method.name for c in curves)


def test_settings_are_checked_before_anything_is_trained():
    with pytest.raises(sc.SecateurError, match="unknown recovery 'bst'"):
        sc.StudyConfig(recovery=("bst",))
    with pytest.raises(sc.SecateurError, match="calibration 0: allowed is 1 or more"):
        sc.StudyConfig(calibration=0)
    assert "--controls" in sc.StudyConfig(controls=True).command("x").split()


PLAIN = sc.StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                       sparsity=(0.0, 0.25, 0.5, 0.75), seeds=1, epochs=1,
                       latency_batches=(1,), latency_seconds=0.001, engine="csr", calibration=100, best_from=0.5)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    return sc.study(config=PLAIN, out=tmp_path_factory.mktemp("best") / "run")


def test_the_best_stands_beside_the_plain_cut_by_default(beside):
    rows = found(beside)
    best = {(g, c): sorted(s for *kind, s in rows if kind == [g, c, "best"]) for g, c, r, _ in rows if r == "best"}
    assert best == {("weight", "magnitude"): [0.5, 0.75], ("neuron", "elimination"): [0.5, 0.75]}
    assert {(g, c) for g, c, r, _ in rows if r == "none"} == {
        ("weight", "magnitude"), ("weight", "random"), ("neuron", "l2"), ("neuron", "random")}
    assert all(p["latency"] for p in beside.points)
    assert {p["samples_seen"] for p in beside.points if p["recovery"] == "best"} == {100}


def test_the_best_has_the_keys_of_the_same_rows_asked_for(beside, tmp_path, monkeypatch):
    from secateur.experiment import backends

    asked = []
    real = backends.run
    monkeypatch.setattr(backends, "run", lambda jobs, *more: asked.extend(jobs) or real(jobs, *more))
    again = replace(PLAIN, recovery=("best",), criterion=("magnitude", "elimination"), sparsity=(0.5, 0.75))
    assert found(sc.study(config=again, out=beside.folder)).keys() == {
        (g, c, "best", s) for g, c in (("weight", "magnitude"), ("neuron", "elimination")) for s in (0.5, 0.75)}
    assert asked == []
    sc.study(config=PLAIN, out=beside.folder)


def test_where_a_recovery_is_asked_for_the_sweep_is_as_asked():
    assert sc.StudyConfig(recovery=("none", "reconstruct")).best_of("weight") is None
    assert sc.StudyConfig(best=False).best_of("weight") is None
    assert sc.StudyConfig(controls=True).best_of("neuron") == ("elimination", "layer")
    assert sc.StudyConfig(scope=("global", "lamp")).best_of("weight") == ("magnitude", "global")
    assert "--no-best" in sc.StudyConfig(best=False).command("x").split()
    assert "best" not in sc.StudyConfig().command("x")
    with pytest.raises(sc.SecateurError, match="best-from 2.0"):
        sc.StudyConfig(best_from=2.0)


def test_what_the_best_cannot_do_is_told_and_the_study_goes_on(tmp_path, monkeypatch, blank_figures):
    from secateur.pruning.criteria.elimination import Elimination

    def refuse(*_):
        raise sc.SecateurError("this layer is called twice")

    few = replace(PLAIN, sparsity=(0.0, 0.5), latency_batches=())
    with monkeypatch.context() as patched:
        patched.setattr(Elimination, "score", refuse)
        run = sc.study(config=few, out=tmp_path / "run")
        with pytest.raises(sc.SecateurError, match="called twice"):
            sc.study(config=replace(few, criterion=("elimination",), granularity=("neuron",), best=False),
                     out=tmp_path / "asked")
        with pytest.raises(sc.SecateurError, match="called twice"):
            sc.study(config=replace(few, criterion=("elimination",), granularity=("neuron",), recovery=("best",),
                                    sparsity=(0.5,)), out=tmp_path / "run")
        run = sc.study(config=few, out=tmp_path / "run")
    assert run.refused == {"neuron": "this layer is called twice"}
    assert {p["granularity"] for p in run.points if p["recovery"] == "best"} == {"weight"}
    report.write(run)
    assert "this layer is called twice" in (tmp_path / "run" / "report.html").read_text()
    assert "this layer is called twice" in (tmp_path / "run" / "summary.md").read_text()
