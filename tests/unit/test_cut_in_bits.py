"""``secateur prune --bits``: the figures of the step against ``secateur.prune`` and ``secateur.quantize`` by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import blobs, secateur, tiny

import secateur as sc
from secateur import files
from secateur.data import resolve
from secateur.experiment.single import prune as room
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.task import open_cut
from secateur.report import pruned as cut_report
from secateur.training.loop import train

BASE = {"model": "support:tiny", "data": "support:blobs", "latency_batches": (1,), "calibration": 100, "epochs": 3}


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cut(**given):
    return room.cut_network(CutConfig(**BASE | given))


def trained():
    torch.manual_seed(0)
    net = tiny()
    train(net, resolve("support:blobs"), 0, 3, CutConfig.batch_size, CutConfig.lr)
    return net.eval()


def samples():
    return open_cut(CutConfig(**BASE, sparsity=0.5, out="other")).task.training_samples(100)[0]


def accuracy(net):
    _, _, x, y = blobs()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


@pytest.mark.parametrize("settings", [{"granularity": "weight"}, {"granularity": "neuron"}])
def test_a_cut_in_int8_is_that_of_prune(settings):
    done = cut(sparsity=0.5, bits=8, **settings)
    whole, small = (sc.prune(trained(), 0.5, data=samples(), skip=["5"], bits=bits, **settings) for bits in (32, 8))
    _, _, x, _ = blobs()
    with torch.no_grad():
        assert torch.equal(done.network(x), small(x))
    step = done.quantizing
    assert (step.bits, step.samples) == (8, 100)
    assert step.accuracy == (accuracy(whole), accuracy(small)) == (step.accuracy[0], done.after.accuracy)
    assert step.bytes == (files.file_bytes(whole), files.file_bytes(small)) == (step.bytes[0], done.after.bytes)
    assert (done.after.parameters, done.after.nonzeros) == (sum(p.numel() for p in whole.parameters()),
                                                           sum(int((p != 0).sum()) for p in whole.parameters()))
    assert done.timing == {"latency": {}} and "It was not timed." in cut_report.verdict(done)
    assert "outputs, same class" in cut_report.quantizing(done) and "int8" in cut_report.quantizing(done)


def test_what_is_written_is_read_back_in_eight_bits_with_its_settings():
    done = cut(sparsity=0.5, bits=8)
    back = sc.load("pruned.safetensors", tiny)
    _, _, x, _ = blobs()
    with torch.no_grad():
        assert torch.equal(back(x), done.network(x))
    assert files.tell("pruned.safetensors").settings["settings"]["bits"] == 8
    with pytest.raises(sc.SecateurError, match="quantised already"):
        sc.quantize(back, samples())


def test_nothing_removed_is_quantising_alone():
    done = cut(sparsity=0.0, bits=8)
    expected = sc.quantize(trained(), samples())
    _, _, x, _ = blobs()
    with torch.no_grad():
        assert torch.equal(done.network(x), expected(x))
    assert done.after.bytes == files.file_bytes(expected) and not done.stages
    assert cut_report.title(done) == "quantised to int8, nothing removed"
    assert cut_report.quantizing(done) == ""


def test_bfloat16_needs_no_samples(tmp_path):
    np.save(tmp_path / "inputs.npy", np.random.default_rng(0).random((40, 1, 4, 4), dtype=np.float32))
    done = room.cut_network(CutConfig(model="support:tiny", data=str(tmp_path / "inputs.npy"), sparsity=0.5, bits=16,
                                      recovery=("none",)))
    assert done.quantizing.bits == 16 and done.quantizing.accuracy is None and done.quantizing.samples == 0
    assert {p.dtype for p in done.network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(("words", "told"), [
    (["--bits", "8", "--example", "mine:x"], "bits 8, for the ranges of its activations, without samples: "
                                             "pass samples with --data"),
    (["--bits", "8", "--data", "support:blobs", "--out", "net.onnx"], "in int8 is written as .safetensors or .pt2"),
    (["--bits", "7"], "bits 7: allowed are 32 (float32), 16 (bf16) or 8 (int8)")])
def test_what_cannot_be_done_is_one_line(words, told, tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nfrom support import tiny\nx = torch.rand(4, 1, 4, 4)\n")
    done = secateur("prune", "mine:tiny", "--sparsity", "0.5", *words, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and told in lines[0]
