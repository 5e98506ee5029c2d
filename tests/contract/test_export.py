"""Every export format, found by scanning its folder: it writes what the network gives, or it leaves nothing."""

import copy
import json
import os
import subprocess
import sys

import networks
import numpy as np
import pytest
import torch
from support import diagonal
from torch import nn

import secateur as sc
from secateur.core import registry
from secateur.core.errors import CutGraphWarning, MeasurementError, MissingExtraError
from secateur.files.exporters import Exported, base, export_checked
from secateur.files.exporters.base import Exporter, Format, RunExporter

NAMES = list(registry.files("exporters"))
FORMATS = [n for n in NAMES if issubclass(registry.get("exporters", n), Exporter)]


class Written(nn.Module):
    """Sizes written into the code: what is left of it after a cut is a graph."""

    def __init__(self):
        super().__init__()
        self.conv, self.line, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(128, 12), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.line(self.conv(x).relu().reshape(-1, 128)).relu())


def convolutions():
    torch.manual_seed(0)
    return networks.NETWORKS["convolutions-and-flatten"]()


def cut_graph():
    torch.manual_seed(0)
    net, x = Written().eval(), torch.rand(3, 1, 4, 4)
    with pytest.warns(CutGraphWarning):
        return sc.prune(net, 0.5, granularity="neuron", criterion="l2", recovery="none", example=x), x


def suffixed(folder, name, stem="net"):
    return folder / f"{stem}{registry.get('exporters', name).suffix}"


def run_directly(name, path, model, inputs):
    """A format's own runtime, called by hand: the first output."""
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        return session.run(None, dict(zip([i.name for i in session.get_inputs()], [x.numpy() for x in inputs],
                                          strict=True)))[0]
    if name == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return compiled([x.numpy() for x in inputs])[0]
    if name == "pt2":
        return torch.export.load(path).module()(*inputs).detach().numpy()
    from safetensors.torch import load_file

    blank = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in blank.state_dict().values():
            tensor.fill_(7)
    blank.load_state_dict(load_file(path))
    return blank(*inputs).detach().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_writes_and_needs(name, monkeypatch):
    made = registry.get("exporters", name)()
    assert isinstance(made, Format) and made.suffix.startswith(".")
    assert isinstance(made, Exporter) != isinstance(made, RunExporter)
    made.check_installed()
    monkeypatch.setattr(base, "find_spec", lambda module: None)
    if made.packages:
        told = rf"needs {made.packages[0]}.*pip install 'secateur\[{made.extra}\]'"
        with pytest.raises(MissingExtraError, match=told):
            made.check_installed()


@pytest.mark.parametrize(("make", "name"), diagonal([convolutions, cut_graph], FORMATS))
def test_its_own_runtime_gives_the_outputs_of_float64(name, make, tmp_path):
    model, x = make()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    done = export_checked(model, suffixed(tmp_path, name), x, name)
    assert isinstance(done, Exported)
    assert sorted(done.files) == sorted(p.name for p in tmp_path.iterdir())
    assert "forward" not in vars(model) and all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    for rows in (1, 4):
        inputs = torch.rand(rows, *x.shape[1:], generator=torch.Generator().manual_seed(rows))
        truth = copy.deepcopy(model).double()(inputs.double()).detach().numpy()
        got = run_directly(name, done.path, model, [inputs])
        assert got.shape == truth.shape
        assert np.abs(got - truth).max() < 2e-5 * np.abs(truth).max()


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_of_int8_layers_is_held_to_its_own_outputs(name, tmp_path):
    model, x = convolutions()
    small = sc.quantize(model, torch.rand(64, *x.shape[1:]), keep=())
    done = export_checked(small, suffixed(tmp_path, name), x, name)
    inputs = torch.rand(4, *x.shape[1:], generator=torch.Generator().manual_seed(4))
    got, own = run_directly(name, done.path, small, [inputs]), small(inputs).numpy()
    if name in ("onnx", "openvino"):
        assert np.quantile(np.abs(got - own), 0.999) <= (own.max() - own.min()) / 255
    else:
        assert np.array_equal(got, own)
    if name != "safetensors":
        assert done.bytes < 4 * sum(p.numel() for p in model.parameters()) + 150_000


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_differs_is_not_left_and_an_older_one_stays(name, tmp_path, monkeypatch):
    model, x = convolutions()
    path, cls = suffixed(tmp_path, name), registry.get("exporters", name)
    path.write_bytes(b"older")
    write = cls.write

    def wrong(self, subject, path, int8=False):
        other = copy.deepcopy(subject.model)
        with torch.no_grad():
            other[-1].weight[0, 0] += 0.01
        write(self, type(subject)(other, subject.args, subject.kwargs, subject.original, subject.reach), path, int8)

    monkeypatch.setattr(cls, "write", wrong)
    with pytest.raises(MeasurementError, match="was not written"):
        export_checked(model, path, x, name)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=["ctrl-c", "full"])
def test_nothing_is_left_of_an_interruption(name, error, tmp_path, monkeypatch):
    model, x = convolutions()

    def stopped(self, subject, path, int8=False):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(registry.get("exporters", name), "write", stopped)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else sc.SecateurError):
        export_checked(model, suffixed(tmp_path, name), x, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pt2_loads_where_secateur_cannot_be_imported(tmp_path):
    """A network cut of neurons by class, and as a graph."""
    found = {}
    for stem, make in (("module", convolutions), ("graph", cut_graph)):
        model, x = make()
        export_checked(model, tmp_path / f"{stem}.pt2", x, "pt2")
        torch.save(x, tmp_path / f"{stem}.x")
        found[stem] = model(x).detach().double().sum().item()
    code = """
import json, sys
sys.modules["secateur"] = None
import torch
told = {}
for stem in ("module", "graph"):
    net = torch.export.load(f"{stem}.pt2").module()
    told[stem] = net(torch.load(f"{stem}.x")).detach().double().sum().item()
print(json.dumps(told))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(found, rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a full disk is simulated with a limit of the size of files")
def test_a_disk_that_fills_while_a_program_is_written_does_not_end_the_process(tmp_path):
    code = ("import resource, signal, torch, secateur as sc\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "net, x = torch.nn.Linear(300, 300), torch.rand(2, 300)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
            "try:\n"
            "    sc.export(net, 'net.pt2', x, to='pt2')\n"
            "except sc.SecateurError as error:\n"
            "    print('told', error)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["told"]), done.stderr
    assert list(tmp_path.iterdir()) == []
