"""Networks that a user already has: each kind gives what it was made from; it is cut, written, read again."""

import json
import pickle
import zipfile

import pytest
import torch
from support import Convolutions, sweep
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.network_options import Options
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.prune import cut_network
from secateur.models import resolve
from secateur.models.loaders._archive import read_checked
from secateur.models.loaders._rebuild_layers import rebuild_layers
from secateur.models.loaders._sizes import plain

QUICK = {"latency_batches": (), "sparsity": 0.5}
TRUSTED = Options(trust=True)


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def exported(network, *inputs, name="net.pt2", batch=True):
    axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs) if batch else None
    program = torch.export.export(network.eval(), inputs, dynamic_shapes=axes, strict=False)
    torch.export.save(program, name)
    return program


def same(one, other, *inputs, least=1e-5):
    with torch.no_grad():
        return torch.allclose(one.eval()(*inputs), other.eval()(*inputs), atol=least)


def test_a_program_becomes_layers_with_its_names():
    network, x = Convolutions().eval(), torch.rand(3, 3, 8, 8)
    exported(network, x)
    back = resolve.network("net.pt2", trusted=True)
    assert same(network, back, torch.rand(5, 3, 8, 8))
    assert [t.name for t in sc.targets(back).targets] == [t.name for t in sc.targets(network).targets]
    assert {n: tuple(p.shape) for n, p in back.named_parameters()} == {
        n: tuple(p.shape) for n, p in network.named_parameters()}
    assert [g.units for g in sc.targets(back, x).groups if g.cuttable] == [
        g.units for g in sc.targets(network, x).groups if g.cuttable]


class Odd(nn.Module):
    """Weights in every place that an exported graph has for them."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 5))
        self.offset, self.shared = nn.Parameter(torch.randn(5)), nn.Linear(5, 5)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.up = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(x @ self.kernel + self.offset)
        x = self.up(self.shared(F.relu(self.shared(x)))).view(-1, 1, 4).expand(-1, 3, -1)
        return self.attention(x, x, x, need_weights=False)[0]


def test_kernels_biases_and_packed_attention_are_found_and_what_is_shared_stays():
    network = Odd().eval()
    back, origins = rebuild_layers(exported(network, torch.rand(2, 6)))
    found = {t.name: t.shape for t in sc.targets(back).targets}
    assert found == {"layer.weight": (5, 6), "up.weight": (4, 5), "attention.in_proj.weight": (12, 4),
                     "attention.out_proj.weight": (4, 4)} or set(found.values()) == {(5, 6), (4, 5), (12, 4), (4, 4)}
    assert same(network, back, torch.rand(7, 6))
    kernel = next(n for n, o in origins.items() if o.name == "kernel")
    assert torch.equal(origins[kernel].back(dict(back.named_parameters())[kernel]), network.kernel)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
@pytest.mark.parametrize("out", ["small.safetensors", "small.pt2"])
def test_a_program_is_cut_written_and_read_again(granularity, out):
    exported(Convolutions(), torch.rand(2, 3, 8, 8))
    torch.save({}, "unused")
    done = cut_network(CutConfig(**QUICK, model="net.pt2", trust=True, granularity=granularity, out=out))
    x = torch.rand(5, 3, 8, 8)
    if out.endswith(".pt2"):
        back = torch.export.load(out).module()
        with torch.no_grad():
            assert torch.allclose(back(x), done.network.eval()(x), atol=1e-5)
    else:
        back = sc.load(out, lambda: resolve.network("net.pt2", trusted=True))
        assert same(back, done.network, x, least=0)
    assert done.after.nonzeros < done.before.nonzeros
    assert (done.before.accuracy, done.chance, done.samples) == (None, None, 0)
    assert any("no --data" in note for note in done.notes)


def test_a_program_of_one_batch_is_given_such_batches():
    exported(Convolutions(), torch.rand(4, 3, 8, 8), batch=False)
    torch.save(0, "x")
    import numpy as np

    np.save("images.npy", np.random.default_rng(0).random((50, 3, 8, 8), dtype=np.float32))
    done = cut_network(CutConfig(**QUICK, model="net.pt2", trust=True, data="images.npy"))
    assert done.samples % 4 == 0
    assert any("batches of 4" in note for note in done.notes)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("expr_str", "__import__('os').system('touch hit')", "has the size"),
    ("target", "torch.hub.load", "calls 'torch.hub.load'"), ("target", "os.system", "calls 'os.system'")])
def test_a_program_with_foreign_code_is_refused_before_torch_reads_it(name, value, message, tmp_path):
    exported(Convolutions(), torch.rand(2, 3, 8, 8))
    altered("net.pt2", lambda text: put(json.loads(text), name, value))
    with pytest.raises(sc.SecateurError, match=message):
        resolve.find("net.pt2", TRUSTED)
    assert not (tmp_path / "hit").exists()


class Bomb:
    """A pickle that makes a file where it is read."""

    def __reduce__(self):
        return (open, ("hit", "w"))


@pytest.mark.parametrize(("member", "message"), [
    ("custom_obj_0", "a pickle or compiled code"), ("sample_inputs", "only by running code"),
    ("use_pickle", "a pickled tensor"), ("twice", "several files of the same name")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_program_with_a_pickle_is_refused(member, message, tmp_path):
    exported(Convolutions(), torch.rand(2, 3, 8, 8))
    with zipfile.ZipFile("net.pt2") as archive:
        held = {i.filename: archive.read(i) for i in archive.infolist()}
    inputs = next(name for name in held if "sample_inputs" in name)
    weights = next(name for name in held if name.endswith("weights_config.json"))
    torch.save((Bomb(),), "bomb.pt")
    bomb = (tmp_path / "bomb.pt").read_bytes()
    if member == "sample_inputs":
        held[inputs] = bomb
    if member == "use_pickle":
        held[weights] = held[weights].replace(b'"use_pickle": false', b'"use_pickle": true')
    with zipfile.ZipFile("net.pt2", "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
        if member == "custom_obj_0":
            archive.writestr("archive/data/constants/custom_obj_0", pickle.dumps(Bomb()))
        if member == "twice":
            archive.writestr(inputs, bomb)
    with pytest.raises(sc.SecateurError, match=message):
        read_checked(tmp_path / "net.pt2")
    with pytest.raises(sc.SecateurError, match=message):
        resolve.find("net.pt2", TRUSTED)
    assert not (tmp_path / "hit").exists()


def altered(name, change):
    """Write an archive again with the text of its graph changed."""
    with zipfile.ZipFile(name) as archive:
        held = {i.filename: archive.read(i) for i in archive.infolist()}
    with zipfile.ZipFile(name, "w") as archive:
        for file, data in held.items():
            graph = "/models/" in f"/{file}" and file.endswith(".json")
            archive.writestr(file, json.dumps(change(data)) if graph else data)


def put(value, name, text):
    """The same nested values with a text in the first place of a name."""
    waiting = [value]
    while waiting:
        here = waiting.pop(0)
        if isinstance(here, dict):
            if isinstance(here.get(name), str):
                here[name] = text
                return value
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    value["nodes"] = {name: text}
    return value


@pytest.mark.parametrize("text", ["exit()", "open(0)", "a.b", "L['x'].__class__", "'a'*9", "[].append", "lambda: 0"])
def test_text_that_is_more_than_a_size_is_not_plain(text):
    assert not plain(text)


@pytest.mark.parametrize(("name", "words"), [
    ("net.pt", "can run code"), ("net.pth", "weights_only=True"), ("pytorch_model.bin", "can run code"),
    ("net.h5", "in Keras"), ("net.onnx", "an ONNX file cannot be read here; .*--engine onnxruntime"),
    ("net.xml", "an OpenVINO file cannot be read here; .*--engine openvino"),
    ("lenet55", "did you mean 'lenet5'"), ("nowhere/at/all", "allowed: "),
    (".", "the folder has no config.json")])
def test_what_is_no_network_is_told_with_what_is(name, words):
    with pytest.raises(sc.SecateurError, match=words) as caught:
        resolve.find(name)
    assert "\n" not in str(caught.value)


def test_weights_with_their_factory_plain_and_written_by_secateur():
    from safetensors.torch import save_file
    from support import tiny

    network = tiny()
    save_file(network.state_dict(), "plain.safetensors")
    found = resolve.find("plain.safetensors", Options(factory="support:tiny")).make()
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), network.parameters(), strict=True))
    small = sc.prune(network, 0.5, granularity="neuron", example=torch.rand(1, 1, 4, 4))
    sc.save(small, "small.safetensors")
    done = cut_network(CutConfig(**QUICK, model="small.safetensors", factory="support:tiny", data="support:blobs",
                                 recovery=("none",), out="smaller.safetensors"))
    back = sc.load("smaller.safetensors", tiny)
    assert same(back, done.network, torch.rand(3, 1, 4, 4), least=0)
    assert done.before.parameters == sum(p.numel() for p in small.parameters())
    with pytest.raises(sc.SecateurError, match="name the network that they belong to with --factory"):
        resolve.find("plain.safetensors")


@pytest.mark.parametrize("out", ["net.onnx", "net.keras", "net.pt"])
def test_a_file_that_the_kind_cannot_be_is_refused_before_work(out, tmp_path):
    with pytest.raises(sc.SecateurError, match=r"is written as \.safetensors, \.pt2"):
        cut_network(CutConfig(**QUICK, model="support:tiny", data="support:blobs", out=out))
    assert not list(tmp_path.iterdir())


def test_timm_makes_the_network_of_a_name():
    pytest.importorskip("timm")
    done = cut_network(CutConfig(**QUICK, model="timm:resnet10t", granularity="neuron", out="small.safetensors"))
    assert done.after.parameters < done.before.parameters
    assert any("random weights" in note for note in done.notes)
    assert "timm.create_model('resnet10t'" in done.again
    with pytest.raises(sc.SecateurError, match="did you mean 'resnet10t'"):
        resolve.find("timm:resnet10x")


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch):
    import sys

    for name, text, words in (("timm", "timm:resnet18", "pip install timm"),
                              ("keras", "net.keras", r"secateur\[keras\]")):
        monkeypatch.setitem(sys.modules, name, None)
        open("net.keras", "w").close()
        with pytest.raises(ImportError, match=words):
            resolve.find(text)


class Attending(nn.Module):
    """Attention by torch's own module, whose projections are no layers of their own."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 16), nn.Linear(16, 3)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = self.up(x)
        return self.down(x + self.attention(x, x, x, need_weights=False)[0])


def test_exported_attention_is_cut_and_refitted_whole():
    network, x = Attending().eval(), torch.rand(64, 5, 6)
    exported(network, x[:4])
    layers = resolve.network("net.pt2", trusted=True)
    plain, best = (sc.prune(layers, 0.6, data=x, recovery=recovery, skip=()) for recovery in ("none", "best"))
    for cut in (plain, best):
        assert {n: int((p == 0).sum()) for n, p in cut.named_parameters() if "attention" in n and "weight" in n} == {
            "attention.in_proj.weight": round(0.6 * 768), "attention.out_proj.weight": round(0.6 * 256)}
    with torch.no_grad():
        errors = [float((cut(x) - network(x)).norm()) for cut in (plain, best)]
    assert errors[1] < 0.5 * errors[0]
    assert int(torch.count_nonzero(best.attention.out_proj.bias)) > 0


class Overwritten(nn.Module):
    """Something that is computed from fixed tensors alone and then written over in place, as Keras' batch norm does."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 4)
        self.register_buffer("variance", torch.full((16,), 0.5))

    def forward(self, x):
        scale = self.variance.reshape(1, 16) + 0.1
        return self.down(self.up(x).relu() * scale.rsqrt_())


def test_a_compiled_network_does_not_write_over_what_it_holds_fixed():
    network, x = sc.prune(Overwritten().eval(), 0.5, skip=()), torch.rand(4, 8)
    with torch.inference_mode():
        fast = sc.compile(network, x, budget=0, always=True)
        for _ in range(3):
            assert torch.allclose(fast(x), network(x), atol=1e-6)


@pytest.fixture
def folders():
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertModel(transformers.BertConfig(vocab_size=40, **small)).save_pretrained("bert")
    transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **small)).save_pretrained("vit")
    transformers.T5Model(transformers.T5Config(vocab_size=6, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
                         ).save_pretrained("t5")


@pytest.mark.parametrize(("folder", "inputs", "granularity"), sweep([
    ("bert", {"input_ids": (2, 8)}, "weight"), ("bert", {"input_ids": (2, 8)}, "neuron"),
    ("vit", {"pixel_values": (2, 3, 8, 8)}, "weight"),
    ("t5", {"input_ids": (2, 8), "decoder_input_ids": (2, 8)}, "weight")],
    lambda case: case[::2] == ("bert", "neuron")))
def test_a_folder_without_tokenizer_and_data_is_cut_by_inputs_drawn_at_random(folders, folder, inputs, granularity):
    found = resolve.find(folder)
    assert {name: tuple(v.shape) for name, v in found.example.items()} == inputs
    done = cut_network(CutConfig(**QUICK, model=folder, granularity=granularity))
    assert (done.samples, done.before.accuracy) == (0, None)
    assert done.plan.criterion == ("magnitude" if granularity == "weight" else "l2")
    (note,) = [n for n in done.notes if "no --data" in n]
    assert f"drawn at random: {' and '.join(inputs)}, 2 x " in note
    back = sc.load("pruned.safetensors", lambda: resolve.network(folder))
    with torch.no_grad():
        assert torch.equal(back(**found.example)[0], done.network.eval()(**found.example)[0])


def test_a_folder_takes_the_example_that_is_given(folders, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import torch\nwords = {'input_ids': torch.ones(3, 5, dtype=torch.long)}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = resolve.find("bert", Options(example="mine:words"))
    assert (tuple(found.example["input_ids"].shape), found.drawn) == ((3, 5), "")


@pytest.mark.parametrize(("given", "named"), [
    ({"recovery": ("best",)}, "recovery best"), ({"criterion": "wanda"}, "criterion wanda"),
    ({"criterion": "wanda", "recovery": ("none", "reconstruct")}, "criterion wanda and recovery reconstruct")])
def test_what_needs_samples_names_the_flags_that_give_them(given, named, tmp_path):
    exported(Convolutions(), torch.rand(2, 3, 8, 8))
    with pytest.raises(sc.SecateurError) as caught:
        cut_network(CutConfig(**QUICK, model="net.pt2", trust=True, **given))
    assert str(caught.value).startswith(f"{named} without samples: pass samples with --data (inputs.npy, ")
    assert "--calibration N sets how many" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2"]


def test_inputs_that_no_network_tells_are_asked_for():
    from secateur.models.loaders._dummy_inputs import find_inputs

    network = nn.Linear(3, 2)
    network.config = object()
    assert find_inputs(network) == (None, "")
    network.dummy_inputs = {"input": torch.ones(2, 3)}
    assert find_inputs(network)[1] == "the dummy_inputs of Linear"
