"""Run folders whose files lead to other files of the user: nothing there is read, changed or deleted."""

import json
import re
import shutil
import sqlite3
import struct
from contextlib import closing

import pytest
import torch
from hostile import STORED, changed
from safetensors.torch import save_file
from support import secateur

from secateur.core.errors import RunError
from secateur.core.paths import write
from secateur.experiment.run import load_run
from secateur.experiment.store import LOCK, Store


@pytest.fixture
def run(tmp_path):
    """A stored run, to be spoilt."""
    return shutil.copytree(STORED, tmp_path / "run")


@pytest.fixture
def precious(tmp_path):
    """A folder of the user's, with a file in it."""
    (folder := tmp_path / "home").mkdir()
    (folder / "precious").write_text("mine")
    return folder


def kept(precious):
    return [(file.name, file.read_text()) for file in precious.iterdir()] == [("precious", "mine")]


@pytest.mark.parametrize("name", ["summary.md", "report.html", "report.json"])
def test_a_link_in_a_run_is_replaced_and_not_followed(name, run, precious, tmp_path, blank_figures):
    (run / name).symlink_to(precious / "precious")
    done = secateur("report", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert kept(precious) and not (run / name).is_symlink() and (run / name).stat().st_size > 100


@pytest.mark.parametrize("name", ["figures", "networks"])
def test_a_run_whose_folder_is_a_link_is_refused(name, run, precious, tmp_path):
    (run / name).symlink_to(precious)
    done = secateur("report", "run", cwd=tmp_path)
    assert done.returncode == 2 and f"{name}' is a link, not the folder of a run" in done.stderr and kept(precious)


def test_a_run_folder_itself_may_be_a_link(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    write(tmp_path / "link" / "summary.md", "new")
    assert load_run(tmp_path / "link").points and (run / "summary.md").read_text() == "new"


@pytest.mark.parametrize("end", ["", "-journal", "-wal", "-shm"])
def test_rows_that_are_a_link_are_refused(end, run, precious):
    (run / f"rows.sqlite{end}").unlink(missing_ok=True)
    (run / f"rows.sqlite{end}").symlink_to(precious / "precious")
    with pytest.raises(RunError, match=rf"rows.sqlite{end}' is a link, a folder or a device, not a file of a run"):
        load_run(run)
    assert kept(precious)


def test_a_link_to_an_empty_file_is_not_made_a_database(run, precious):
    (precious / "precious").write_text("")
    (run / "rows.sqlite").unlink()
    (run / "rows.sqlite").symlink_to(precious / "precious")
    with pytest.raises(RunError, match="is a link"):
        load_run(run)
    assert not (precious / "precious").stat().st_size


def test_a_loose_link_is_not_made_a_file(run, precious, tmp_path):
    (run / LOCK).symlink_to(precious / "new")
    with Store(run) as store, pytest.raises(RunError, match="study.lock' is a link"), store.alone():
        pass
    assert kept(precious)


@pytest.mark.parametrize("beside", ["rows.sqlite", LOCK])
@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_that_makes_sqlite_delete_a_file_is_refused(beside, version, run, precious):
    raw = bytearray((run / "rows.sqlite").read_bytes())
    raw[18] = raw[19] = version
    (run / "rows.sqlite").write_bytes(raw)
    shutil.copy(run / "rows.sqlite", run / "copy")
    if beside == LOCK:
        shutil.copy(run / "copy", run / LOCK)
    (run / f"{beside}-journal").write_bytes(journal(bytes(raw), precious / "precious"))

    def read():
        with Store(run) as store, store.alone():
            pass

    with pytest.raises(RunError, match="names a file that SQLite would delete"):
        read()
    assert kept(precious)


def journal(database, victim):
    """A journal whose end names a file, as SQLite's file format has it (section 3, the rollback journal)."""
    page, name, magic = struct.unpack(">H", database[16:18])[0], str(victim).encode(), bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">IIIII", 0, 0, len(database) // page, 512, page)
    lock_page = struct.pack(">I", 0x40000000 // page + 1)
    return head.ljust(512, b"\0") + lock_page + name + struct.pack(">II", len(name), sum(name)) + magic


def test_sqlite_deletes_what_such_a_journal_names(run, precious):
    """What the test above guards against is there: without it this test would say nothing."""
    (run / "rows.sqlite-journal").write_bytes(journal((run / "rows.sqlite").read_bytes(), precious / "precious"))
    with closing(sqlite3.connect(run / "rows.sqlite")) as base:
        base.execute("SELECT sql FROM sqlite_master").fetchall()
    assert not (precious / "precious").exists()


@pytest.mark.parametrize("part", ["points", "latency", "trained", "scans", "anatomy"])
def test_a_run_that_names_a_row_twice_is_refused_before_it_is_read(part, run, monkeypatch):
    changed(run, "meta", lambda text: json.dumps((told := json.loads(text)) | {part: told[part][:1] * 100_000}),
            "name = 'run'")
    monkeypatch.setattr(Store, "get", lambda *_: pytest.fail("a row was read"))
    with pytest.raises(RunError, match=rf"rows.sqlite' is damaged: .* names one of its 100000 {part} twice"):
        load_run(run)


@pytest.fixture
def pretrained(tmp_path):
    """A folder that transformers reads, with one tensor alone."""
    pytest.importorskip("transformers")
    (folder := tmp_path / "net").mkdir()
    save_file({"a": torch.ones(2)}, folder / "model.safetensors")
    return folder


BERT = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 4, "num_attention_heads": 1,
        "intermediate_size": 4, "vocab_size": 4}


@pytest.mark.parametrize(("text", "message"), [
    ("[" * 100_000, "is not valid JSON: maximum recursion depth"),
    ('{"a":' * 100_000, "is not valid JSON: maximum recursion depth"),
    ("[]", "is a list, allowed is an object"), ("null", "is null, allowed is an object"),
    ('{"architectures": {"a": 1}}', "expected the name of a class of transformers"),
    ('{"architectures": ["logging"]}', "expected the name of a class of transformers"),
    ('{"architectures": ["pipeline"], "auto_map": {}}', "contains code of its own"),
    (json.dumps(BERT | {"num_hidden_layers": 10**9}), "asks for num_hidden_layers 1000000000; allowed for its weights, "
                                                      "1 tensors of 2 values, are 1000 layers"),
    (json.dumps(BERT | {"vocab_size": 10**9}), r"asks for 40000\d+ parameters; allowed")])
def test_a_configuration_asks_for_no_more_than_its_weights(text, message, pretrained, tmp_path):
    (pretrained / "config.json").write_text(text)
    done = secateur("info", "net", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert re.search(message, done.stderr), done.stderr


def test_a_table_of_settings_that_nests_too_deep_is_refused_in_one_line(tmp_path):
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    done = secateur("study", "--config", "deep.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "config 'deep.toml' is not TOML: maximum recursion depth" in done.stderr
