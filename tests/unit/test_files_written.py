"""What is written: the fewest bytes, every bit, whole or not at all."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support import tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.files.native import sparse
from secateur.measure.size import tensors
from secateur.models.builtin.lenet5 import Lenet5
from secateur.models.builtin.mlp import Mlp

TESTS = Path(__file__).parent.parent
FIXTURES = TESTS / "fixtures"
KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint16]


def raw(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def same(got, want):
    pairs = list(zip(tensors(got), tensors(want), strict=True))
    return all(a == b and x.dtype == y.dtype and torch.equal(raw(x), raw(y)) for (a, x), (b, y) in pairs)


class Holder(nn.Module):
    """Tensors of a state, as buffers."""

    def __init__(self, held):
        super().__init__()
        for name, tensor in held.items():
            self.register_buffer(name, tensor)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (64, 65), (2, 300), (4, 5, 6, 7)], ids=str)
@pytest.mark.parametrize("kept", [0, 0.004, 0.1, 1])
def test_every_bit_of_every_type_comes_back(kind, shape, kept, tmp_path):
    draw = torch.Generator().manual_seed(len(shape))
    there = (torch.rand(shape, generator=draw) < kept).unsqueeze(-1)
    noise = torch.randint(0, 256 if kind != torch.bool else 2, (*shape, kind.itemsize), dtype=torch.uint8,
                          generator=draw)
    value = (noise * there).view(kind).view(shape)
    net = Holder({"x": value})
    path = sc.save(net, tmp_path / "x.safetensors")
    back = sc.load(path, lambda: Holder({"x": torch.zeros_like(value)}))
    assert same(back, net)
    assert files.file_bytes(net) == path.stat().st_size


def test_negative_zeros_nans_and_denormals_are_values(tmp_path):
    net = nn.Linear(64, 64, bias=False)
    odd = torch.tensor([-2**31, 0x7FC00001, -0x3FFFFF, 1, 0x7F800000], dtype=torch.int32).view(torch.float32)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[3, :5] = odd
    path = sc.save(net, tmp_path / "odd.safetensors")
    assert files.tell(path).tensors[0].nonzeros == 5 and files.tell(path).tensors[0].form != "dense"
    back = sc.load(path, lambda: nn.Linear(64, 64, bias=False))
    assert back.weight.view(torch.int32)[3, :5].tolist() == odd.view(torch.int32).tolist()


def by_hand(tensor):
    """The bytes of each form, counted one value after the other; CSR is only read."""
    flat, rows = tensor.flatten().tolist(), tensor.shape[0]
    there = [v != 0 for v in flat]
    item, columns = tensor.element_size(), len(flat) // rows
    width = 1 if columns <= 256 else 2 if columns <= 65536 else 4
    pointer = 1 if sum(there) < 256 else 2 if sum(there) < 65536 else 4
    return {"dense": len(flat) * item, "bitmask": -(-len(flat) // 8) + sum(there) * item,
            "gaps": gaps_by_hand(there) + sum(there) * item, "csr": sum(there) * (item + width) + pointer * (rows + 1)}


def gaps_by_hand(there):
    """The bytes of the places as gaps, with the best number of low bits."""
    gaps, last = [], -1
    for at, one in enumerate(there):
        if one:
            gaps.append(at - last - 1)
            last = at
    return min(-(-len(gaps) * low // 8) + -(-sum((gap >> low) + 1 for gap in gaps) // 8) for low in range(20))


@pytest.mark.parametrize(("shape", "kept"), [((64, 64), 0.5), ((64, 64), 0.05), ((300, 300), 0.01), ((40, 40), 1.0),
                                             ((100, 50), 0.03), ((20, 400), 0.002)])
def test_the_smallest_form_is_taken(shape, kept, tmp_path):
    net = nn.Linear(shape[1], shape[0], bias=False)
    with torch.no_grad():
        net.weight.copy_(net.weight * (torch.rand(shape) < kept) + 0.0)
    path = sc.save(net, tmp_path / "net.safetensors")
    fact, want = files.tell(path).tensors[0], by_hand(net.weight.detach())
    assert fact.bytes == want[fact.form] <= min(want.values()) + 2 * sparse.ENTRY
    assert sum(t.nbytes for t in safetensors.torch.load_file(path).values()) == fact.bytes


@pytest.mark.parametrize(("make", "values", "most"), [(Mlp, None, 0.16), (Mlp, "bf16", 0.09), (Mlp, "f16", 0.09),
                                                      (Lenet5, None, 0.17)])
def test_ninety_percent_of_the_weights_on_the_disk(make, values, most, tmp_path):
    net = sc.prune(make(), 0.9, skip=())
    cut = sc.save(net, tmp_path / "cut.safetensors", values=values)
    dense = files.save_dense(net, tmp_path / "dense.safetensors")
    assert cut.stat().st_size <= most * dense.stat().st_size
    assert cut.stat().st_size == files.file_bytes(net, values)
    narrow = {None: torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[values]
    back = sc.load(cut, make)
    assert all(torch.equal(b, a.to(narrow).float() if a.ndim > 1 else a) for (_, a), (_, b) in
               zip(tensors(net), tensors(back), strict=True))
    assert {t.dtype for _, t in tensors(back)} == {torch.float32}


def test_values_that_do_not_fit_are_refused(tmp_path):
    net = nn.Linear(4, 4)
    with torch.no_grad():
        net.weight[0, 0] = 1e6
    with pytest.raises(sc.SecateurError, match="'weight' holds values too large for f16"):
        sc.save(net, tmp_path / "net.safetensors", values="f16")
    with pytest.raises(sc.SecateurError, match="values 'int8'; allowed: None, bf16, f16"):
        sc.save(net, tmp_path / "net.safetensors", values="int8")
    assert not list(tmp_path.iterdir())


def test_dense_files_are_plain_safetensors(tmp_path):
    net = sc.prune(tiny(), 0.5, granularity="neuron", example=torch.rand(2, 1, 4, 4))
    read = safetensors.torch.load_file(files.save_dense(net, tmp_path / "net.safetensors"))
    assert list(read) == list(net.state_dict())
    assert all(torch.equal(read[n], t) for n, t in net.state_dict().items())


@pytest.mark.parametrize("name", ["weights-1", "neurons-1", "weights-2", "neurons-2", "weights-3", "neurons-3"])
def test_files_of_every_format_load(name):
    path = FIXTURES / f"{name}.safetensors"
    facts, net = files.tell(path), sc.load(path, tiny)
    assert facts.format == int(name[-1]) and facts.network == "Sequential"
    assert [c.after for c in facts.cuts if c.what == "neuron"] == ([9, 6, 5, 3] if "neurons" in name else [])
    want = safetensors.torch.load_file(FIXTURES / f"{name[:-1]}1.safetensors")
    assert all(torch.equal(raw(t), raw(want[n])) for n, t in net.state_dict().items())
    if facts.runnable:
        x = torch.rand(3, 1, 4, 4)
        assert torch.equal(sc.load(path)(x), net.eval()(x))


def patterned():
    """Two matrices of whole numbers: one value in 97, one in 3."""
    net = nn.Sequential(nn.Linear(300, 40, bias=False), nn.Linear(40, 41, bias=False))
    with torch.no_grad():
        for layer, every in zip(net, (97, 3), strict=True):
            count = torch.arange(layer.weight.numel()).view(layer.weight.shape)
            layer.weight.copy_(count * (count % every == 0))
    return net


@pytest.mark.parametrize(("format", "forms"), [(2, ["csr", "bitmask"]), (3, ["gaps", "bitmask"])])
def test_a_sparse_file_of_each_format_loads(format, forms):
    path = FIXTURES / f"sparse-{format}.safetensors"
    assert [t.form for t in files.tell(path).tensors] == forms
    blank = nn.Sequential(nn.Linear(300, 40, bias=False), nn.Linear(40, 41, bias=False))
    assert same(sc.load(path, lambda: blank), patterned())


def test_an_int8_file_of_format_3_loads():
    """Its network is the one of weights-1, quantised: each weight is within its scale of the code's value."""
    path, x = FIXTURES / "int8-3.safetensors", torch.rand(5, 1, 4, 4)
    net, whole = sc.load(path, tiny).eval(), sc.load(FIXTURES / "weights-1.safetensors", tiny).eval()
    assert torch.equal(sc.load(path)(x), net(x))
    for name in ("1", "3", "5"):
        layer = net.get_submodule(name)
        off = (layer.codes * layer.scale[:, None] - whole.get_submodule(name).weight).abs()
        assert (off <= 2 * layer.scale[:, None]).all()
    assert (net(x) - whole(x)).norm() < 0.05 * whole(x).norm()


def test_what_is_told_is_what_was_given(tmp_path):
    net = sc.prune(tiny(), 0.9, skip=())
    path = sc.save(net, tmp_path / "net.safetensors", values="bf16", settings={"rate": 0.5, "names": ["a", None]})
    facts = files.tell(path)
    assert facts.settings == {"rate": 0.5, "names": ["a", None]} and not facts.runnable
    assert facts.bytes == path.stat().st_size and facts.dense_bytes == 320 * 4
    assert [(t.name, t.shape, t.dtype, t.values) for t in facts.tensors] == [
        (n, tuple(t.shape), "float32", "bfloat16") for n, t in tensors(net)]
    assert [(c.name, c.before, c.after) for c in facts.cuts] == [
        (n, t.numel(), int(t.count_nonzero())) for n, t in tensors(net)]
    with pytest.raises(sc.SecateurError, match="settings cannot be written as JSON"):
        sc.save(net, path, settings={"net": net})


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "net.safetensors"
    code = ("import sys, torch, secateur as sc\nfrom torch import nn\nnets = [nn.Linear(600, 600) for _ in range(2)]\n"
            "for i, n in enumerate(nets): torch.nn.init.constant_(n.weight, i + 1.0); torch.nn.init.zeros_(n.bias)\n"
            "print('on', flush=True)\nwhile True:\n    for n in nets: sc.save(n, sys.argv[1])\n")
    draw, seen = random.Random(0), set()
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"})
        assert child.stdout.readline() == "on\n"
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(draw.random() / 20)
        child.send_signal(signal.SIGKILL)
        child.wait()
        weight = sc.load(path, lambda: nn.Linear(600, 600)).weight
        assert bool((weight == weight[0, 0]).all())
        seen.add(float(weight[0, 0]))
    assert seen <= {1.0, 2.0}


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = sc.save(tiny(), tmp_path / "net.safetensors")
    before = path.read_bytes()
    code = ("import resource, signal, sys, secateur as sc\nfrom torch import nn\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nnet = nn.Linear(1000, 1000)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, {resource.RLIM_INFINITY}))\n"
            "try:\n    sc.save(net, sys.argv[1])\nexcept sc.SecateurError as error:\n    print(error)\n")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert "cannot write" in done.stdout and "File too large" in done.stdout, done.stderr
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_header_is_plain_json(tmp_path):
    path = sc.save(sc.prune(nn.Linear(64, 64), 0.9, skip=()), tmp_path / "net.safetensors")
    text = path.read_bytes()
    told = json.loads(text[8:8 + int.from_bytes(text[:8], "little")])
    assert told["__metadata__"]["format"] == "secateur network 3"
    assert (8 + int.from_bytes(text[:8], "little")) % 8 == 0
