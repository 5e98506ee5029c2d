"""What a file holds, what stays open, what is told and refused."""

import math
import warnings

import onnx
import onnxruntime
import pytest
import torch
from networks import NETWORKS
from torch import nn

import secateur as sc
from secateur.core.errors import CutGraphWarning, MeasurementError, MissingExtraError
from secateur.files.exporters import Exported, ExportWarning, _verify, base, export_checked, onnx_
from secateur.files.exporters._program import subject, trace_program


class Words(nn.Module):
    """Whole numbers and a mask in, a dict out, by keyword."""

    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(11, 8), nn.Linear(8, 3)

    def forward(self, ids, *, mask=None, unused=None):
        x = self.table(ids)
        x = x if mask is None else x * mask.unsqueeze(-1)
        logits = self.last(x.mean(1))
        return {"logits": logits, "best": logits.argmax(-1)}


class Fixed(nn.Module):
    """Its code has the batch written into it."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(x.view(4, 2, 4).reshape(4, 8))


@pytest.fixture
def words():
    torch.manual_seed(0)
    ids = torch.randint(0, 11, (2, 6))
    return Words().eval(), {"ids": ids, "mask": torch.ones(2, 6, dtype=torch.int64)}


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_onnx_has_open_axes_named_and_tells_nothing_of_the_machine(words, tmp_path):
    model, example = words
    done = export_checked(model, tmp_path / "words.onnx", example)
    graph = onnx.load(tmp_path / "words.onnx").graph
    assert {i.name: dims(i) for i in graph.input} == {"ids": ["batch", "length"], "mask": ["batch", "length"]}
    assert {o.name: dims(o) for o in graph.output} == {"logits": ["batch", 3], "best": ["batch"]}
    assert done.inputs == "ids [batch, length], mask [batch, length]"
    assert __file__.encode() not in (tmp_path / "words.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "words.onnx"))
    ids, mask = torch.randint(0, 11, (7, 13)), torch.randint(0, 2, (7, 13))
    logits, best = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
    want = model(ids, mask=mask)
    assert torch.allclose(torch.from_numpy(logits), want["logits"], atol=1e-6)
    assert torch.equal(torch.from_numpy(best), want["best"])


@pytest.mark.parametrize(("to", "suffix"), [("pt2", "pt2"), ("openvino", "xml")])
def test_whole_numbers_and_keywords(words, to, suffix, tmp_path):
    model, example = words
    done = export_checked(model, tmp_path / f"words.{suffix}", example, to)
    assert {1, 2, 5} <= set(done.checked.batches)
    assert done.checked.error <= done.checked.allowed < 1e-4
    if to == "pt2":
        path, program = tmp_path / "words.pt2", torch.export.load(tmp_path / "words.pt2")
        kept, own = (torch.utils._pytree.tree_leaves(x) for x in (program.example_inputs, example))
        assert [x.shape for x in kept] == [x.shape for x in own]
        assert __file__.encode() not in path.read_bytes()


def test_a_program_keeps_no_value_of_its_example(tmp_path):
    secret = torch.full((2, 4), 0.123456)
    export_checked(nn.Linear(4, 3), tmp_path / "net.pt2", secret, "pt2")
    (kept,), _ = torch.export.load(tmp_path / "net.pt2").example_inputs
    assert (kept.shape, kept.dtype) == (secret.shape, secret.dtype)
    assert not bool((kept == secret).any())
    assert secret[0, 0].numpy().tobytes() not in (tmp_path / "net.pt2").read_bytes()


class ByName(nn.Module):
    """Sizes written into its code, inputs by keyword."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, inputs=None, other=None):
        return {"sum": self.last(self.first(inputs).reshape(-1, 16).relu()) + other}


def test_a_cut_graph_by_keywords_keeps_its_batch_open_and_warns_of_nothing(tmp_path):
    torch.manual_seed(0)
    example = {"other": torch.rand(4, 3), "inputs": torch.rand(4, 6)}
    with pytest.warns(CutGraphWarning):
        small = sc.prune(ByName().eval(), 0.5, granularity="neuron", criterion="l2", recovery="none", example=example)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = sc.export(small, tmp_path / "named.onnx", example)
    session = onnxruntime.InferenceSession(str(path))
    given = {"inputs": torch.rand(7, 6), "other": torch.rand(7, 3)}
    got = session.run(["sum"], {k: v.numpy() for k, v in given.items()})[0]
    assert torch.allclose(torch.from_numpy(got), small(**given)["sum"], atol=1e-6)


def test_half_precision_is_held_to_its_own_rounding(tmp_path):
    torch.manual_seed(0)
    done = export_checked(nn.Linear(6, 3).half(), tmp_path / "half.onnx", torch.rand(4, 6).half())
    assert done.checked.error <= done.checked.allowed < 0.01


def test_a_fixed_batch_is_told_with_the_reason(tmp_path):
    with pytest.warns(ExportWarning, match="the batch is fixed at the example's 4.*accepts only batches of 4"):
        path = sc.export(Fixed(), tmp_path / "fixed.onnx", torch.rand(4, 8))
    assert dims(onnx.load(path).graph.input[0]) == [4, 8]


@pytest.mark.slow
def test_lengths_that_a_format_unrolls_are_told(tmp_path):
    torch.manual_seed(0)
    net = nn.LSTM(4, 5, batch_first=True).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.export(net, tmp_path / "lstm.onnx", torch.rand(2, 6, 4))
    assert dims(onnx.load(tmp_path / "lstm.onnx").graph.input[0]) == ["batch", "length", 4]
    with pytest.warns(ExportWarning, match="lengths are fixed at the example's"):
        sc.export(net, tmp_path / "lstm.pt2", torch.rand(2, 6, 4), to="pt2")
    again = torch.export.load(tmp_path / "lstm.pt2").module()
    x = torch.rand(5, 6, 4)
    assert torch.allclose(again(x)[0], net(x)[0], atol=1e-6)


@pytest.mark.slow
def test_a_cut_transformer_with_batch_and_length_open(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    bert = transformers.BertModel(transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32)).eval()
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 6:] = 0
    example = {"input_ids": torch.randint(0, 50, (2, 9)), "attention_mask": mask}
    small = sc.prune(bert, 0.5, granularity="neuron", criterion="l2", recovery="none", example=example)
    done = export_checked(small, tmp_path / "bert.onnx", example)
    graph = onnx.load(done.path).graph
    assert {o.name for o in graph.output} == {"last_hidden_state", "pooler_output"}
    whole = export_checked(bert, tmp_path / "whole.onnx", example)
    assert done.bytes < whole.bytes
    ids = torch.randint(0, 50, (3, 5))
    session = onnxruntime.InferenceSession(str(done.path))
    got = session.run(["pooler_output"], {"input_ids": ids.numpy(), "attention_mask": torch.ones_like(ids).numpy()})[0]
    assert torch.allclose(torch.from_numpy(got), small(ids, attention_mask=torch.ones_like(ids)).pooler_output,
                          atol=1e-5)


def test_neurons_that_went_are_not_in_the_file(tmp_path):
    torch.manual_seed(0)
    net, x = NETWORKS["mlp"]()
    small = sc.prune(net.eval(), 0.5, granularity="neuron", criterion="l2", recovery="none", example=x)
    shapes = sorted(tuple(i.dims) for i in onnx.load(sc.export(small, tmp_path / "s.onnx", x)).graph.initializer
                    if len(i.dims) == 2)
    assert shapes == sorted(tuple(p.shape) for p in small.parameters() if p.ndim == 2)
    assert shapes != sorted(tuple(p.shape) for p in net.parameters() if p.ndim == 2)


def test_tensors_too_large_for_one_file_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_, "TOO_LARGE", 10)
    net = nn.Linear(64, 64)
    done = export_checked(net, tmp_path / "large.onnx", torch.rand(2, 64))
    assert sorted(done.files) == ["large.onnx", "large.onnx.data"] == sorted(p.name for p in tmp_path.iterdir())
    x = torch.rand(3, 64)
    session = onnxruntime.InferenceSession(str(done.path))
    got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert torch.allclose(torch.from_numpy(got), net(x), atol=1e-5)


def test_int8_is_a_quarter_of_the_bytes_and_tells_its_error(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)).eval()
    x = torch.rand(32, 256)
    whole, done = (export_checked(net, tmp_path / f"{i}.onnx", x, int8=bool(i)) for i in (0, 1))
    assert done.bytes < 0.3 * whole.bytes
    assert whole.checked.distance < 1e-5 < done.checked.distance < 0.05
    assert done.checked.same > 0.8 and done.checked.rows == 32 + 1 + 2 + 5
    session = onnxruntime.InferenceSession(str(done.path))
    got = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    want = net(x).detach()
    assert float((got - want).norm() / want.norm()) == pytest.approx(done.checked.distance, abs=0.02)
    assert [p.name for p in tmp_path.iterdir() if not p.name[0].isdigit()] == []


def test_int8_beyond_its_bound_or_of_nothing_is_refused(tmp_path, monkeypatch):
    net, x = nn.Linear(8, 4), torch.rand(4, 8)
    with pytest.raises(sc.SecateurError, match="no layer that ONNX Runtime quantises"):
        sc.export(nn.Softmax(-1), tmp_path / "x.onnx", x, int8=True)
    monkeypatch.setattr(_verify, "COARSE", 1e-7)
    with pytest.raises(MeasurementError, match="has a relative error of"):
        sc.export(net, tmp_path / "x.onnx", x, int8=True)
    assert not list(tmp_path.iterdir())


def test_tied_tensors_stand_under_each_name(tmp_path):
    from safetensors.torch import load_file

    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    net[2].weight = net[0].weight
    held = load_file(sc.export(net, tmp_path / "t.safetensors", to="safetensors"))
    assert sorted(held) == ["0.weight", "2.weight"]
    assert torch.equal(held["0.weight"], held["2.weight"]) and torch.equal(held["0.weight"], net[0].weight)


def differ(got, truth, own=None):
    own = torch.tensor(truth, dtype=torch.float32) if own is None else torch.tensor(own)
    return _verify.difference(torch.tensor(got), torch.tensor(truth, dtype=torch.float64), own, False)


def test_differences_by_hand():
    found = differ([[1.0, 2.0], [5.0, 3.0]], [[1.0, 2.0], [3.0, 4.0]])
    assert found.error == 2 / 4
    assert found.distance == pytest.approx(math.sqrt(5) / math.sqrt(30))
    assert (found.same, found.rows) == (0.5, 2)
    assert found.allowed == 128 * 2 ** -23
    assert differ([1.5], [1.0], own=[1.25]).allowed == 2.5
    assert differ([math.nan], [1.0]).error == math.inf
    assert differ([math.inf, 1.0], [math.inf, 1.0], own=[math.inf, 1.0]).error == 0
    whole = _verify.difference(torch.tensor([1, 2]), torch.tensor([1, 3]), torch.tensor([1, 3]), False)
    assert (whole.error, whole.allowed) == (0.5, 0.0)


def test_random_inputs_stay_in_the_range_of_the_example(words):
    model, example = words
    example["mask"] = torch.tensor([[3, 3, 4, 5, 6, 7]] * 2)
    trace = trace_program(type(subject(model, example))(model, (), example, "Words", "length"))
    ids, mask = _verify._random_inputs(trace, 5, True)
    assert ids.shape == mask.shape == (5, 3)
    assert int(ids.min()) >= 0 and int(ids.max()) <= int(example["ids"].max())
    assert mask.unique().tolist() == [3, 4, 5, 6, 7]
    assert all(torch.equal(a, b) for a, b in zip(_verify._random_inputs(trace, 5, True), (ids, mask), strict=True))


@pytest.mark.parametrize(("given", "message"), [
    ({"to": "onxx"}, "did you mean 'onnx'"), ({"path": "net.txt"}, r"must end in \.onnx"),
    ({"path": "none/net.onnx"}, "there is no folder"), ({"path": 3}, "got a int as path"),
    ({"example": None}, "needs an example"), ({"example": torch.rand(2, 5)}, "the example does not run"),
    ({"model": "net"}, "got str as model"), ({"to": "report", "path": "r.html"}, "for the folder of a study"),
    ({"to": "pt2", "path": "net.pt2", "int8": True}, "allowed is int8 with onnx")])
def test_mistakes_are_one_line_and_leave_nothing(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = {"model": nn.Linear(4, 2), "path": "net.onnx", "example": torch.rand(2, 4)} | given
    with pytest.raises(sc.SecateurError, match=message) as caught:
        sc.export(call.pop("model"), **call)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_compiled_network_is_refused_with_what_to_do(tmp_path):
    x = torch.rand(2, 4)
    fast = sc.compile(nn.Sequential(nn.Linear(4, 2)), x)
    with pytest.raises(sc.SecateurError, match="export the network that it was compiled from"):
        sc.export(fast, tmp_path / "x.pt2", x, to="pt2")


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(MissingExtraError, match=r"onnxruntime.*pip install 'secateur\[onnx\]'"):
        sc.export(nn.Linear(4, 2), tmp_path / "x.onnx", torch.rand(2, 4))


@pytest.mark.slow
def test_nothing_is_printed(tmp_path, capfd):
    net = nn.Linear(4, 2)
    for name, to, int8 in (("a.onnx", "onnx", False), ("b.onnx", "onnx", True), ("c.pt2", "pt2", False),
                           ("d.xml", "openvino", False)):
        assert isinstance(export_checked(net, tmp_path / name, torch.rand(2, 4), to, int8), Exported)
    assert capfd.readouterr() == ("", "")
