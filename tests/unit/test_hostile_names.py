"""Names in files that would be code where torch makes code of a graph: it puts them between quotes as they are."""

import contextlib
import json
import zipfile
from pathlib import Path

import forged
import pytest
import torch
from hostile import packed, with_graph
from support import secateur
from torch import nn

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.models import resolve

# The graph of a traced network has an attribute "graph", so that what follows the quote is reached.
CODE = 'graph"), open("hit","w")#'
NAMES = [CODE, "a\\", "a\nb", "a\rb", "it's"]


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def named(name):
    network = nn.Sequential()
    network.add_module(name, nn.Linear(4, 3))
    return network.eval()


def test_torch_runs_such_a_name():
    """What the tests below guard against is there: without it they would say nothing."""
    with contextlib.suppress(Exception), torch.no_grad():  # whatever it is: the name was run before
        torch.export.export(named(CODE), (torch.rand(2, 4),)).module()(torch.rand(2, 4))
    assert Path("hit").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [["export", "--to", "pt2"], ["export", "--to", "onnx"],
                                   ["export", "--to", "safetensors"],
                                   ["bench", "--engines", "torch", "--batches", "1", "--seconds", "0.02"]])
def test_a_name_in_a_file_is_never_code(name, words, tmp_path):
    raw = sc.save(named("fc"), "a.safetensors", torch.rand(2, 4)).read_bytes()
    metadata, told, data = forged.apart(raw)
    text = json.dumps(name)[1:-1]

    def rename(read):
        read.update(json.loads(json.dumps(read).replace("fc.", f"{text}.")))

    raw = forged.with_program(raw, rename)
    metadata, told, data = forged.apart(raw)
    metadata["tensors"] = metadata["tensors"].replace("fc.", f"{text}.")
    told = {one.replace("fc.", f"{name}."): what for one, what in told.items()}
    Path("a.safetensors").write_bytes(forged.signed(metadata, told, data))
    done = secateur(words[0], "a.safetensors", *words[1:], cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "is not a valid name for a" in done.stderr and not Path("hit").exists()


def test_a_name_of_an_input_is_none_either():
    class Net(nn.Linear):
        def forward(self, x):
            return super().forward(x["key"])

    path = sc.save(Net(4, 3), "a.safetensors", ({"key": torch.rand(2, 4)},))
    raw = forged.with_program(path.read_bytes(), lambda read: read.update(json.loads(
        json.dumps(read).replace('"key"', json.dumps(CODE)))))
    path.write_bytes(raw)
    with pytest.raises(SecateurError, match="a dict of inputs or outputs has the name"):
        sc.load(path)


def test_a_trusted_program_has_no_such_name_either():
    torch.export.save(torch.export.export(named("fc"), (torch.rand(2, 4),)), "a.pt2")
    with zipfile.ZipFile("a.pt2") as archive:
        held = {info.filename: archive.read(info) for info in archive.infolist()}
    text = json.dumps(CODE)[1:-1]
    held = with_graph(held, lambda graph: graph.update(json.loads(
        json.dumps(graph).replace("fc.", f"{text}."))))
    held = {name: (data.replace(b"fc.", f"{text}.".encode()) if str(name).endswith("config.json") else data)
            for name, data in held.items()}
    Path("a.pt2").write_bytes(packed(held))
    with pytest.raises(SecateurError, match="where plain text belongs"):
        resolve.network("a.pt2", trusted=True)
    assert not Path("hit").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_ones_own_with_such_a_name_is_refused_where_code_would_be_made(name):
    with pytest.raises(SecateurError, match="is not a safe name for a module or tensor"):
        sc.plan(named(name), 0.5, granularity="neuron", example=torch.rand(2, 4))
    assert not Path("hit").exists()
