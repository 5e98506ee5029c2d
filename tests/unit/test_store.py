"""Rows: keyed by all settings, whole or absent, readable only by their own format."""

import os
import sqlite3

import pytest

from secateur.core.errors import RunError
from secateur.experiment.store import FILE, Store, key_of


def test_a_row_comes_back_with_its_bytes(tmp_path):
    settings = {"seed": 0, "sparsity": 0.5}
    with Store(tmp_path / "run", create=True) as store:
        store.put("point", settings, {"accuracy": 0.1 + 0.2, "correct": b"\x00\xff"}, {"cpu": "x"})
    with Store(tmp_path / "run") as store:
        assert store.get(key_of(settings)) == {"accuracy": 0.1 + 0.2, "correct": b"\x00\xff"}
        assert store.keys("point") == {key_of(settings)}
        assert store.machine([key_of(settings)]) == {"cpu": "x"}


def test_every_setting_is_in_the_key():
    base = {"a": 1, "b": {"c": [0.5]}}
    assert len({key_of(s) for s in (base, {**base, "a": 2}, {"a": 1, "b": {"c": [0.25]}}, {"a": 1})}) == 4


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        Store(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_another_format_is_refused(tmp_path):
    Store(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE meta SET value = '999' WHERE name = 'format'")
    with pytest.raises(RunError, match="has format 999, this version reads"):
        Store(tmp_path, create=True)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to be read as one" * 10)
    with pytest.raises(RunError, match="cannot open the run folder"):
        Store(tmp_path, create=True)


def test_a_folder_under_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot open the run folder"):
        Store(tmp_path / "file" / "run", create=True)


@pytest.mark.skipif(os.name != "posix", reason="full disks are simulated with a file size limit")
def test_a_full_disk_leaves_the_rows_before_it(tmp_path):
    store = Store(tmp_path, create=True)
    store.put("point", {"n": 0}, {"x": 1}, {})
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(RunError, match="cannot write to the run folder"):
        store.put("point", {"n": 1}, {"x": "y" * 100_000}, {})
    store.close()
    with Store(tmp_path) as again:
        assert again.keys("point") == {key_of({"n": 0})}
