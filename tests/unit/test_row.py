"""Rows: read as attributes or by name, complete, and with the facts of their method inside."""

from __future__ import annotations

from dataclasses import fields

import pytest
import synthetic_run

from secateur.experiment import row as rows
from secateur.experiment.row import Row, facts_of_older_row, method_facts, read_row
from secateur.experiment.store import Store
from secateur.experiment.study import study
from secateur.report.gather import gather_results
from secateur.report.render.csv import flatten

SETTINGS = {"kind": "point", "seed": 0, "granularity": "weight", "criterion": "magnitude", "scope": "layer",
            "sparsity": 0.5, "layers": "{}", "skip": []}
FIGURES = {"reached": 0.5, "items": 10, "removed": 5, "loss": 0.1, "accuracy": 0.9, "tests": 8, "parameters": 12,
           "nonzeros": 7, "bytes": 48, "bytes_sparse": 40, "flops": 24, "flops_nonzero": 14, "layers": [],
           "correct": b"\xff"}


def test_a_row_is_read_by_name_and_by_attribute():
    row = synthetic_run.make(grid=(0.5,), seeds=1).points[0]
    assert row["accuracy"] == row.accuracy
    assert dict(row) == {f.name: getattr(row, f.name) for f in fields(Row)}
    with pytest.raises(KeyError):
        row["keys"]


@pytest.mark.parametrize(("criterion", "recovery", "control", "needs_labels"), [
    ("magnitude", "none", False, False), ("random", "none", True, False), ("magnitude", "reinitialised", True, True),
    ("taylor", "none", False, True), ("wanda", "best", False, False), ("magnitude", "finetune", False, True)])
def test_what_a_method_is_and_needs(criterion, recovery, control, needs_labels):
    assert method_facts(criterion, recovery) == {"control": control, "needs_labels": needs_labels}


def test_a_stored_row_says_what_its_method_is_whatever_the_registries_say(monkeypatch):
    monkeypatch.setattr(rows, "method_facts", None)
    row = read_row(SETTINGS, FIGURES | {"control": True, "needs_labels": True}, {"engine_used": "csr"})
    assert (row.control, row.needs_labels, row.recovery, row.engine_used) == (True, True, "none", "csr")
    assert row.layers == []


def test_a_row_of_an_older_version_has_the_facts_of_todays_items():
    row = read_row(SETTINGS | {"criterion": "random", "recovery": "finetune"}, FIGURES, None)
    assert (row.control, row.needs_labels, row.latency, row.samples_seen) == (True, True, None, 0)


@pytest.mark.parametrize(("criterion", "recovery"), [("gone", "none"), ("magnitude", "gone"), ("no.module:C", "none")])
def test_a_row_of_an_item_that_is_there_no_more_is_read(criterion, recovery):
    assert facts_of_older_row(criterion, recovery) == {"control": False, "needs_labels": False}
    assert read_row(SETTINGS | {"criterion": criterion, "recovery": recovery}, FIGURES, None).criterion == criterion


def test_figures_of_a_later_version_are_left_out():
    assert read_row(SETTINGS, FIGURES | {"joules": 3.0}, None) == read_row(SETTINGS, FIGURES, None)


def test_a_study_stores_what_a_row_reads_and_the_report_asks_no_registry(tmp_path, monkeypatch):
    from secateur.core import registry
    from secateur.experiment.config import StudyConfig
    from secateur.experiment.run import load_run

    config = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                         sparsity=(0.0, 0.5), granularity=("weight",),
                         criterion=("magnitude", "random"), seeds=1, epochs=1, latency_batches=(1,),
                         latency_seconds=0.001, engine="csr")
    study(config=config, out=tmp_path / "run")
    with Store(tmp_path / "run") as store:
        kept = [store.get(key) for key in store.meta("run")["points"] + store.meta("run")["latency"]]
    assert {name for figures in kept for name in figures} <= {f.name for f in fields(Row)}
    assert all("needs_labels" in figures for figures in kept if "accuracy" in figures)
    monkeypatch.setattr(registry, "get", None)
    assert {c.method.control for c in gather_results(load_run(tmp_path / "run")).curves} == {False, True}


def test_a_row_is_flat_in_a_table():
    row = read_row(SETTINGS, FIGURES, {"latency": {"1": {"original": {"median": 2e-5}}}})
    flat = flatten(row)
    assert (flat["layers"], flat["latency_1_original_median"]) == ("[]", 2e-5)
    assert not {"correct", "predictions", "latency"} & flat.keys()
