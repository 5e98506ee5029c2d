"""Recoveries, criteria with data, and controls as settings of a study's rows."""

from dataclasses import replace

import pytest

import secateur as sc
from secateur.report.gather import digest
from secateur.store import key_of
from secateur.subject import Point

SETTINGS = {"model": "support:tiny", "data": "support:blobs", "sparsity": (0.0, 0.5), "criterion": ("wanda", "energy"),
            "recovery": ("none", "best"), "seeds": 1, "epochs": 1, "latency_batches": (), "calibration": 100}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    return sc.study(config=sc.StudyConfig(**SETTINGS, controls=True), out=folder / "run")


def found(run):
    return {(p["granularity"], p["criterion"], p["recovery"], p["sparsity"]): p for p in run.points}


def test_every_criterion_is_crossed_with_every_recovery_but_controls_with_controls(run):
    kinds = {(g, c, r) for g, c, r, _ in found(run)}
    assert {r for g, c, r in kinds if c == "wanda"} == {"none", "best", "reinitialised"}
    assert {r for g, c, r in kinds if c == "random"} == {"none", "best"}
    assert {(g, c) for g, c, _ in kinds} == {("weight", "wanda"), ("weight", "random"), ("neuron", "energy"),
                                             ("neuron", "random")}


def test_controls_are_marked(run):
    assert {(p["criterion"], p["recovery"]) for p in run.points if p["control"]} == {
        ("random", "none"), ("random", "best"), ("wanda", "reinitialised"), ("energy", "reinitialised")}


def test_a_recovery_keeps_the_sizes_and_changes_the_figures(run):
    rows = found(run)
    plain, best, anew = (rows["weight", "wanda", r, 0.5] for r in ("none", "best", "reinitialised"))
    assert plain["nonzeros"] == best["nonzeros"] == anew["nonzeros"]
    assert len({plain["loss"], best["loss"], anew["loss"]}) == 3
    small, scratch = (rows["neuron", "energy", r, 0.5] for r in ("none", "reinitialised"))
    assert small["parameters"] == scratch["parameters"] < plain["parameters"]


def test_what_is_there_is_not_computed_again_and_plain_rows_keep_their_keys(run, monkeypatch):
    from secateur import parallel

    asked = []
    monkeypatch.setattr(parallel, "run", lambda jobs, *_: asked.extend(jobs) or iter(()))
    sc.study(config=sc.StudyConfig(**SETTINGS, controls=True), out=run.folder)
    assert asked == []
    point = Point("weight", "magnitude", "layer", 0.5, (), 0)
    assert set(point.settings()) == {"granularity", "criterion", "scope", "sparsity", "skip", "seed"}
    assert key_of(point.settings()) != key_of(replace(point, recovery="best", samples=9).settings())


def test_the_report_tells_them_apart(run):
    curves = digest(run).curves
    assert len({c.method.name for c in curves}) == len(curves)
    assert any("best" in c.method.name for c in curves)


def test_settings_are_checked_before_anything_is_trained():
    with pytest.raises(sc.SecateurError, match="unknown recovery 'bst'"):
        sc.StudyConfig(recovery=("bst",))
    with pytest.raises(sc.SecateurError, match="calibration 0: allowed is 1 or more"):
        sc.StudyConfig(calibration=0)
    assert "--controls" in sc.StudyConfig(controls=True).command("x").split()
