"""Run folders, names in files and modules in the current folder that would take over the process, its terminal or a
reader's browser: each with a canary that would show it."""

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
import torch
from hostile import EVIL, STORED, TAGS, changed, named
from safetensors.torch import save_file
from support import secateur, secateur_process, sweep

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.core.terminal import Terminal
from secateur.data import user_data
from secateur.experiment.run import load_run
from secateur.experiment.store import key_of
from secateur.report.gather import gather_results
from secateur.report.render import markdown, matplotlib_, page

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SHADOWS = ("rich", "torch", "numpy", "typer", "shlex", "json", "safetensors", "joblib", "llvmlite", "pickle", "logging")


@pytest.mark.slow
@pytest.mark.parametrize("words", [
    ["info", "mlp", "--shape", "1,8,8"], ["list"], ["diff", "a", "b"],
    ["bench", "mlp", "--shape", "1,8,8", "--batches", "1", "--seconds", "0.02", "--engines", "torch"]])
def test_a_module_in_the_current_folder_takes_no_place(words, tmp_path):
    for name in SHADOWS:
        Path(f"{name}.py").write_text(f"open('hit-{name}', 'w')\nraise SystemExit('{name} of the folder ran')\n")
    done = secateur_process(*words, cwd=tmp_path)
    assert done.returncode == (2 if words[0] == "diff" else 0), done.stderr
    assert "of the folder ran" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("hit-*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not know PYTHONSAFEPATH")
def test_workers_do_not_look_in_the_current_folder_first(tmp_path):
    pytest.importorskip("joblib")
    for name in ("numpy", "pickle", "logging", "socket"):
        Path(f"{name}.py").write_text(f"open('hit-{name}', 'w')\n")
    done = secateur_process("study", "--model", "support:tiny", "--data", "support:blobs", "--sparsity", "0,0.5",
                            "--granularity", "weight", "--criterion", "magnitude", "--seeds", "1", "--epochs", "1",
                            "--latency-batches", "", "--no-best", "--jobs", "2", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("hit-*"))


def test_the_current_folder_is_searched_last_and_for_a_given_name_alone(tmp_path):
    Path("mine.py").write_text("from support import tiny as make\n")
    before = [*sys.path]
    with contextlib.ExitStack() as stack:
        stack.callback(sys.path.__setitem__, slice(None), before)
        assert secateur("info", "mine:make", "--shape", "1,4,4", cwd=tmp_path).returncode == 0
        assert secateur("list", cwd=tmp_path).returncode == 0
    assert secateur("info", "gone:make", cwd=tmp_path).returncode == 2


@pytest.fixture
def run(tmp_path):
    """A stored run, to be spoilt."""
    return shutil.copytree(STORED, tmp_path / "run")


def test_a_run_that_names_a_factory_imports_nothing_until_the_user_names_it(run, tmp_path, blank_figures):
    (tmp_path / "evil.py").write_text("open('hit', 'w')\nfrom support import tiny as make\n")
    named(run, model="evil:make", criterion=["evil:make", "magnitude"])
    with contextlib.closing(sqlite3.connect(run / "rows.sqlite")) as base, base:
        key, text = base.execute("SELECT key, settings FROM rows WHERE kind = 'point' LIMIT 1").fetchone()
        settings = json.loads(text) | {"criterion": "evil:make", "recovery": "evil:make"}
        base.execute("UPDATE rows SET key = ?, settings = ? WHERE key = ?",
                     (key_of(settings), json.dumps(settings), key))
    changed(run, "meta", lambda text: text.replace(key, key_of(settings)), "name = 'run'")
    assert secateur("report", "run", cwd=tmp_path).returncode == 0
    assert secateur("info", "run", cwd=tmp_path).returncode == 2
    for more in ([], ["--model", "other:make"]):
        done = secateur("export", "run", "--sparsity", "0", *more, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert not (tmp_path / "hit").exists()
    named(run, criterion=["magnitude"])
    done = secateur("export", "run", "--sparsity", "0", cwd=tmp_path)
    assert "repeat it with --factory evil:make, or add --trust" in done.stderr
    assert not (tmp_path / "hit").exists()
    secateur("export", "run", "--sparsity", "0", "--model", "evil:make", cwd=tmp_path)
    assert (tmp_path / "hit").exists()


@pytest.mark.parametrize("statement", [
    "ALTER TABLE rows RENAME TO held; CREATE VIEW rows AS SELECT * FROM held",
    "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM rows; END", "CREATE TABLE more (a)"])
def test_a_database_that_does_more_than_hold_rows_is_refused(run, statement):
    with contextlib.closing(sqlite3.connect(run / "rows.sqlite")) as base:
        base.executescript(statement)
    with pytest.raises(SecateurError, match=r"rows.sqlite' holds 'CREATE .*, which does not belong to a run"):
        load_run(run)


def test_rows_that_are_whole_are_kept_and_the_others_counted(run, tmp_path, blank_figures):
    before = load_run(run)
    changed(run, "rows", lambda _: '{"accuracy": ', "kind = 'point' AND rowid % 7 = 0")
    changed(run, "rows", lambda text: text.replace('"tests":360', '"tests":1000000000000'),
            "kind = 'point' AND rowid % 7 = 1")
    after = load_run(run)
    assert 0 < len(after.points) < len(before.points)
    assert {(p.criterion, p.sparsity, p.accuracy) for p in after.points} <= {
        (p.criterion, p.sparsity, p.accuracy) for p in before.points}
    lost = len(before.points) - len(after.points)
    assert (before.unread, after.unread[0].partition(" rows")[0]) == ((), str(lost))
    done = secateur("report", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"note: {lost} rows of" in done.stdout


@pytest.mark.parametrize("value", ["", "null", "[]", '{"config": 3}', "[" * 5000, '{"points": "a"}', "\x00"])
def test_a_run_whose_list_of_rows_is_damaged_is_told_in_one_line(run, tmp_path, value):
    changed(run, "meta", lambda _: value, "name = 'run'")
    done = secateur("report", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "run" in done.stderr and "Traceback" not in done.stderr


def test_names_cannot_steer_the_terminal(tmp_path, run, blank_figures):
    net = torch.nn.Sequential()
    net.add_module(EVIL, torch.nn.Linear(4, 3))
    for name in ("a", "b"):
        sc.save(net, f"{name}.safetensors", example=torch.rand(2, 4), settings={EVIL: f"{name}{EVIL}"})
    save_file({EVIL: torch.ones(2)}, "plain.safetensors")
    named(run, model=EVIL)
    for words in (["info", "a.safetensors"], ["diff", "a.safetensors", "b.safetensors"], ["report", "run"],
                  ["export", "a.safetensors", "--to", "pt2"], ["export", "run", "--trust", "--sparsity", "0"],
                  ["info", f"gone{EVIL}"], ["prune", "support:tiny", "--weights", "plain.safetensors", "--data",
                                            "support:blobs", "--sparsity", "0.5", "--out", "c.safetensors"]):
        done = secateur(*words, cwd=tmp_path)
        assert not set("\x1b\x07\u202e") & set(done.stdout + done.stderr), words
        assert "Traceback" not in done.stderr
    assert "\\x1b]0;owned" in secateur("info", "a.safetensors", cwd=tmp_path).stdout


def test_an_error_and_the_console_write_control_characters_out():
    assert str(SecateurError(f"no {EVIL}")) == "no \\x1b]0;owned\\x07\\u202egpj"
    console = Terminal(file=io.StringIO(), force_terminal=True, width=80)
    console.print(EVIL.replace("\x07", ""), style="bold", markup=False, highlight=False)
    assert console.file.getvalue() == "\x1b[1m\\x1b]0;owned\\u202egpj\x1b[0m\n"


def test_names_are_no_tags_links_or_columns_in_any_output(tmp_path):
    made = synthetic_run.make(grid=(0.0, 0.5), criteria={"weight": (TAGS, "magnitude"), "neuron": ("l2",)}, seeds=1)
    made = replace(made, config=made.config | {"model": TAGS, "data": "</title></script>"}, command="a ```\n# b")
    results = gather_results(made)
    text, html = markdown.render(results, []), page.render(results)
    assert "<img" not in text and "`a`" not in text.replace("\\`", "") and "[b](" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows if "onerror" in line} <= {
        line.count("|") for line in rows if line.startswith(("| cut", "| setting"))}
    assert text.endswith("````\na ```\n# b\n````\n")
    assert "<img" not in html and "</title></script>" not in html
    with matplotlib_.need("matplotlib").rc_context(matplotlib_.STYLE):
        matplotlib_.save(matplotlib_.draw(matplotlib_.collect(results)["accuracy"]), tmp_path / "a.svg")
    assert b"<img" not in (tmp_path / "a.svg").read_bytes()


def test_arrays_that_unpack_to_far_more_than_their_file_are_refused_before(monkeypatch, tmp_path):
    np.savez_compressed("small.npz", x=np.zeros(300_000, np.uint8))
    monkeypatch.setattr(user_data, "_FREE", 1 << 18)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("an array was unpacked"))
    with pytest.raises(SecateurError, match=r"would unpack to 300\d{3} bytes; allowed are 262144"):
        user_data.read_arrays(tmp_path / "small.npz")


@pytest.mark.parametrize("shape", [(10**13,), (2**62, 4), (-3,)])
def test_an_array_that_says_it_is_larger_than_its_bytes_is_refused(shape, tmp_path):
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile("bad.npz", "w") as archive:
        archive.writestr("x.npy", made.getvalue() + bytes(16))
    with pytest.raises(SecateurError, match="is not a valid .npz file of plain arrays"):
        user_data.read_arrays(tmp_path / "bad.npz")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a forked process")
@pytest.mark.parametrize("count", sweep([10, 100], {10}.__contains__))
def test_damaged_files_of_each_kind_are_read_or_refused_within_bounds(count, tmp_path):
    """The first of the 10,000 files that ``make fuzz COUNT=10000`` reads of each kind, from the same seed."""
    done = subprocess.run([sys.executable, ROOT / "tools" / "fuzz" / "archives.py", str(count), "0", "--out",
                           "found.json"],
                          capture_output=True, text=True, cwd=tmp_path, env={
                              **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (tmp_path / "found.json").is_file(), done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["machine"] and (found["count"], found["seed"]) == (count, 0)
    assert found["kinds"].keys() == {"pt2", "npz", "run", "weights", "graph"}
    for kind, told in found["kinds"].items():
        assert told["read"] + told["refused"] == count and told["refused"] > count / 10, kind
        assert [grown for _, _, grown in told["beyond"] if grown > 200_000_000] == [], kind


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a forked process")
def test_the_fuzzer_sees_memory_errors_and_the_end_of_a_process():
    sys.path.insert(0, str(ROOT / "tools" / "fuzz"))
    try:
        from measured import measure
    finally:
        sys.path.remove(str(ROOT / "tools" / "fuzz"))
    few, many = (measure(lambda size=size: str(len(b"x" * size))) for size in (1000, 100_000_000))
    assert (few.result, many.result) == ("1000", "100000000")
    assert few.grown < 20_000_000 and 98_000_000 < many.grown < 120_000_000
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measure(lambda: str(1 / 0))
    with pytest.raises(RuntimeError, match="ended with status"):
        measure(lambda: os._exit(3))
