"""The command line as a user meets it, with its mistakes."""

from pathlib import Path

import pytest
from support import TESTS, secateur, secateur_process, sweep

SMALL = ["--model", "support:tiny", "--data", "support:blobs", "--sparsity", "0,0.5", "--seeds", "1", "--epochs", "1",
         "--latency-batches", "1", "--latency-seconds", "0.001"]


def test_a_study_leaves_its_report(tmp_path, blank_figures):
    done = secateur("study", *SMALL, "--csv", "--parquet", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert {"rows.sqlite", "report.html", "summary.md", "rows.csv", "rows.parquet"} <= names
    assert {Path(n).suffix for n in names if n.startswith("figures/")} == {".png", ".svg"}
    assert "report.html" in done.stdout
    before = (tmp_path / "run" / "report.html").read_bytes()
    assert secateur("report", "run", cwd=tmp_path).returncode == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == before


@pytest.mark.parametrize(("words", "message"), [
    (["--sparsity", "1"], "sparsity 1.0: allowed is a fraction removed in [0, 1)"),
    (["--sparsity", "0.5,0.5"], "is given twice"),
    (["--sparsiti", "0.5"], "--sparsity"),
    (["--granularity", "neurn"], "did you mean 'neuron'"),
    (["--model", "mlpp"], "did you mean 'mlp'"),
    (["--data", "digit"], "did you mean 'digits'"),
    (["--model", "support:nothing", "--data", "support:blobs"], "torch.nn.Module"),
    (["--seeds", "none"], "allowed is a whole number"),
    (["--config", "missing.toml"], "No such file"),
    (["--weights", "missing.safetensors", "--data", "support:blobs", "--model", "support:tiny"], "missing.safetensors"),
    (["--backend", "dusk"], "did you mean 'dask'"),
    (["--backend", "dask"], "--address"),
    (["--jobs", "0"], "jobs 0"),
    (["--data", "missing.npz"], "missing.npz"),
    (["--skip", "layer9", "--model", "support:tiny", "--data", "support:blobs"], "layer9"),
])
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, words, message):
    done = secateur("study", *words, "--out", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("calm")
def test_prune_writes_a_network_and_tells_what_the_cut_buys(tmp_path):
    words = ["prune", "--model", "support:tiny", "--data", "support:blobs", "--sparsity", "0.5", "--epochs", "1",
             "--latency-batches", "1,8", "--latency-seconds", "0.001"]
    done = secateur(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for told in ("test accuracy", "not zero", "ms at batch 8", "of the bytes", "trained here for 1 epoch before",
                 "verified); load it with secateur.load('pruned.safetensors', support.tiny)"):
        assert told in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["pruned.safetensors"]
    again = secateur(*words, cwd=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "--force" in again.stderr


@pytest.mark.parametrize(("words", "message"), [
    ([], "sparsity is missing"), (["--sparsity", "half"], "sparsity 'half': allowed is a number"),
    (["--sparsity", "0.5", "--granularity", "neurn"], "did you mean 'neuron'"),
    (["--sparsity", "0.5", "--recovery", "best,bst"], "did you mean 'best'"),
    (["--sparsity", "0.5", "--epochs", "1.5"], "epochs '1.5': allowed is a whole number"),
    (["--sparsiti", "0.5"], "--sparsity"), (["--sparsity", "0.5", "--out", "none/x"], "there is no folder 'none'")])
def test_a_mistake_of_prune_is_one_line_and_leaves_nothing(tmp_path, words, message):
    done = secateur("prune", "--model", "support:tiny", "--data", "support:blobs", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path):
    done = secateur("study", "--sparsity", "2", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    done = secateur("study", *SMALL, "--out", "file/run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot open the run folder" in done.stderr


def test_a_folder_without_a_run(tmp_path):
    done = secateur("report", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "holds no run" in done.stderr


def test_an_unknown_command_names_the_known(tmp_path):
    done = secateur("studdy", cwd=tmp_path)
    assert done.returncode == 2
    assert "study" in done.stderr
    assert done.stderr.count("\n") == 1


def test_list_names_every_file(tmp_path):
    done = secateur("list", "--files", cwd=tmp_path)
    source = TESTS.parent / "src" / "secateur"
    for room in ("pruning/criteria", "pruning/granularity", "pruning/scopes", "data/datasets", "models/builtin"):
        for path in (source / room).glob("[a-z]*.py"):
            if path.stem != "base":
                assert f"secateur/{room}/{path.name}" in done.stdout


def test_version(tmp_path):
    from secateur import __version__

    assert secateur("--version", cwd=tmp_path).stdout.strip() == __version__


@pytest.mark.parametrize("words", sweep([["list"], ["study", "--sparsity", "2"]], lambda words: words != ["list"]))
def test_a_process_of_its_own_says_the_same(tmp_path, words):
    here, there = (run(*words, cwd=tmp_path) for run in (secateur, secateur_process))
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)
    assert not list(tmp_path.iterdir())
