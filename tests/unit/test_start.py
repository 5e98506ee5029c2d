"""What starts without torch, and what a user sees before torch is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.core import registry

SOURCE = Path(__file__).parent.parent.parent / "src"
SLOW = ["torch", "numpy", "scipy", "rich", "pydantic", "matplotlib", "safetensors"]
"""What takes long to import: in these tests it cannot be imported."""
RUN = """
import contextlib, io, json, sys
for name in {slow!r}:
    sys.modules[name] = None
from secateur.cli import main
told = []
for words in json.loads(sys.argv[1]):
    sys.argv[:] = ["secateur", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


def run_without(words, cwd, slow=SLOW, width=80):
    """Some commands in one process in which nothing slow can be imported: exit code, output, errors of each."""
    done = subprocess.run([sys.executable, "-c", RUN.format(slow=slow), json.dumps(words)], cwd=cwd, text=True,
                          capture_output=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": str(width), "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


COMMANDS = ("study", "bench", "report", "prune", "export", "info", "diff", "list")


@pytest.mark.parametrize("width", [60, 80])
def test_help_version_and_list_need_nothing_slow_and_keep_to_the_width(tmp_path, width):
    words = [["--help"], ["--version"], ["list"], ["list", "--files"], *([name, "-h"] for name in COMMANDS)]
    for asked, (code, out, err) in zip(words, run_without(words, tmp_path, width=width), strict=True):
        assert (code, err) == (0, ""), asked
        assert out.strip()
        longest = max(out.splitlines(), key=len)
        assert len(longest) <= width or " " not in longest.strip(" \\"), (asked, longest)


def test_what_other_tools_call_it_leads_to_our_name_before_torch_is_there(tmp_path):
    answers = {
        "prune mlp --amount 0.5": "did you mean '--sparsity'?", "prune mlp --ratio 0.5": "did you mean '--sparsity'?",
        "prune mlp --channel": "did you mean '--granularity neuron'?", "study --dataset a": "did you mean '--data'?",
        "prune mlp --finetune": "did you mean '--recovery finetune'?", "export a --output b": "did you mean '--out'?",
        "study --method l1": "did you mean '--criterion'?", "prune mlp --overwrite": "did you mean '--force'?",
        "study --criterion l2norm": "did you mean 'l2'?", "study --scope local": "did you mean 'layer'?",
        "study --recovery fine-tune": "did you mean 'finetune'?", "study --criterion obc": "did you mean 'obs'?",
        "bench mlp --sparsity 90": "did you mean 0.9?", "study --seeds 0": "seeds 0: allowed is 1 or more"}
    found = run_without([words.split() for words in answers], tmp_path, slow=["torch", "numpy", "scipy"])
    for (words, answer), (code, out, err) in zip(answers.items(), found, strict=True):
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert answer in err


@pytest.mark.parametrize(("words", "first"), [
    ("study --data digits", "secateur study: mlp on digits"), ("prune mlp --sparsity 0.9", "secateur prune: mlp at "),
    ("info resnet20", "secateur info: resnet20"), ("export runs/a", "secateur export: runs/a to onnx"),
    ("bench", "secateur bench: layers 1000x784, 3072x768"), ("report runs/a", "secateur report: runs/a"),
    ("diff a.safetensors b.safetensors", "secateur diff: a.safetensors and b.safetensors")])
def test_the_first_line_is_there_before_torch_is_imported(tmp_path, words, first):
    for name in words.split()[1:]:
        (tmp_path / name).touch() if name.endswith(".safetensors") else None
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "rows.sqlite").touch()
    [(code, out, err)] = run_without([words.split()], tmp_path, slow=["torch"])
    assert (code, "torch" in err) == (2, True)
    assert out.startswith(first) and out.count("\n") == 1


def test_json_is_not_preceded_by_a_line(tmp_path):
    [(_, out, _)] = run_without([["diff", "a", "b", "--json"]], tmp_path, slow=["torch"])
    assert out == ""


def test_a_mistake_that_needs_no_torch_is_told_before_it_is_imported(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.safetensors").touch()
    answers = {
        "prune mlp --sparsity 50": "did you mean 0.5?", "study --sparsity 0,50": "did you mean 0.5?",
        "info mlp --sparsity 50": "did you mean 0.5?", "study --sparsity 1": "allowed is a fraction removed in [0, 1)",
        "study --model lenet5x": "did you mean 'lenet5'?", "study --data digts": "did you mean 'digits'?",
        "prune mlp --round-to 0": "allowed is a positive whole number",
        "study --granularity channel": "did you mean 'neuron'?", "prune --granularity 4x": "did you mean '4x1'?",
        "study --data gone.npz": "'gone.npz': there is no such file",
        "prune mlp --weights gone.safetensors": "'gone.safetensors': there is no such file",
        "info nets/smal.safetensors": "did you mean 'nets/small.safetensors'?",
        "bench gone.pt2": "'gone.pt2': there is no such file", "export gone.keras": "there is no such file",
        "diff nets/small.safetensors gone.safetensors": "'gone.safetensors': there is no such file",
        "report nets": "'nets' holds no run: there is no rows.sqlite in it",
        "prune mlpp": "unknown model 'mlpp': did you mean 'mlp'?", "info nothing": "unknown model 'nothing'",
        "bench nets/nothing": "unknown model 'nets/nothing'", "export runs/nothing": "allowed: the folder of a study",
        "prune net.onnx": "an ONNX file cannot be read here", "prune net.pt": "such a file can run code",
        "prune mlp --model lenet5": "allowed is one of them", "prune mlp --factory mlpp": "did you mean 'mlp'?",
        "prune mlp --data digts": "did you mean 'digits'?", "info mlp --data digts": "did you mean 'digits'?",
        "prune mlp --device gpu": "allowed are cpu, cuda, cuda:N", "study --layers {": "is not JSON",
        "export mlp --to onxx": "did you mean 'onnx'?", "bench --linear 3": "allowed are outputs x inputs",
        "prune mlp --out there.pt2": "'there.pt2' exists already", "study --backend dask": "--address tcp://HOST:PORT",
        "prune mlp --weights nets/small.safetensors --epochs 2": "allowed is one of them",
        "diff net.onnx net.onnx": "an ONNX file cannot be read here"}
    for name in ("there.pt2", "net.onnx", "net.pt"):
        (tmp_path / name).touch()
    check_told(answers, tmp_path)


def test_a_wrong_value_in_a_file_of_settings_is_told_before_torch_is_imported(tmp_path):
    files = {'data = "digts"': "did you mean 'digits'?", "sparsity = [0, 50]": "did you mean 0.5?",
             "lern = 5": "did you mean 'lr'?", 'seeds = "three"': "seeds 'three': allowed is a whole number",
             'backend = "dask"': "--address tcp://HOST:PORT", "least = 0.1\nmin-sparsity = 0.1": "same setting",
             'criterion = "magnitud"': "did you mean 'magnitude'?"}
    for number, text in enumerate(files):
        (tmp_path / f"{number}.toml").write_text(text)
    check_told({f"study --config {number}.toml": answer for number, answer in enumerate(files.values())}, tmp_path)


def test_what_a_flag_overrides_in_a_file_of_settings_is_not_looked_at(tmp_path):
    (tmp_path / "study.toml").write_text('data = "digts"\nbackend = "dask"')
    words = "study --config study.toml --data digits --address tcp://host:1"
    [(_, out, err)] = run_without([words.split()], tmp_path, slow=["torch"])
    assert out == "secateur study: mlp on digits\n" and "torch" in err


def check_told(answers, cwd):
    """Check that each command ends with one line that has its answer, though neither torch nor timm can be imported."""
    found = run_without([words.split() for words in answers], cwd, slow=["torch", "numpy", "scipy", "timm"])
    for (words, answer), (code, _, err) in zip(answers.items(), found, strict=True):
        assert (code, err.count("\n"), answer in err) == (2, 1, True), (words, err)


def test_the_shell_completes_names_and_the_last_of_several(tmp_path):
    def offered(*words):
        done = subprocess.run([sys.executable, "-m", "secateur"], cwd=tmp_path, text=True, capture_output=True,
                              timeout=120, env={
                                  **os.environ, "PYTHONPATH": str(SOURCE), "_SECATEUR_COMPLETE": "complete_bash",
                                  "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)})
        return done.stdout.split()

    assert offered("secateur", "study", "--criterion", "mag") == ["magnitude"]
    assert offered("secateur", "study", "--criterion", "l1,ob") == ["l1,obd", "l1,obs"]
    assert offered("secateur", "ben") == ["bench"]
    assert offered("secateur", "prune", "--pooling", "m") == ["mean", "max"]


@pytest.mark.parametrize("room", registry.ROOMS)
def test_every_item_is_described_as_its_file_begins_and_every_form_is_its_class_s(room):
    from secateur.cli.list_ import GIVEN_TO

    assert room in GIVEN_TO
    for name, path in registry.files(room).items():
        kind = registry.get(room, name)
        text = sys.modules[kind.__module__].__doc__.splitlines()[0].removesuffix(".").replace("``", "")
        description = registry.description(path)
        assert text.endswith(description) and len(description) > 10
        own_name = text.removesuffix(description)
        assert own_name == "" or own_name.endswith(": ")
        if room == "loaders":
            assert registry.constant(path, "form") == kind.form


def test_the_package_imports_its_names_when_they_are_asked_for(tmp_path):
    code = """
import sys
import secateur as sc
assert sc.__version__ and not {"torch", "numpy"} & set(sys.modules)
from secateur.core import registry
from secateur import core
assert not {"torch", "numpy"} & set(sys.modules)
from secateur import prune
from secateur import *
assert compile is sc.compile and "torch" in sys.modules
from secateur import _face
assert sc.__all__ == _face.__all__ and all(getattr(sc, name) is getattr(_face, name) for name in sc.__all__)
assert sc.runtime.compile is sc.compile and not hasattr(sc, "nothing")
print("whole")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"})
    assert done.stdout == "whole\n", done.stderr
