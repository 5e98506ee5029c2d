"""Any network by its name in ``bench`` and ``info``: folders, exported programs, weights, and files cut from them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import HereWorker, sweep, tiny
from torch import nn
from typer.testing import CliRunner

import secateur as sc
from secateur.bench import BenchConfig, Subject, bench
from secateur.cli import app
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.models import example_inputs, resolve
from secateur.models.loaders.base import Source

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "network", "a", "sentence"]


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    """In a folder of its own; the engines in this process: test_bench_measure.py has them in theirs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("secateur.bench.run.Worker", HereWorker)
    torch.manual_seed(0)


@pytest.fixture
def folder(tmp_path):
    """A small Transformer with a tokenizer, as Hugging Face's library writes them."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    config = transformers.BertConfig(vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64)
    transformers.BertModel(config).save_pretrained("bert")
    transformers.BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")).save_pretrained("bert")
    return "bert"


def said(*words):
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, SecateurError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def exported(name, batch=None):
    axes = None if batch else ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(tiny(), (torch.rand(batch or 2, 1, 4, 4),), dynamic_shapes=axes), name)


@pytest.mark.slow
def test_a_folder_is_timed_with_inputs_by_name(folder):
    found = bench(Subject.parse(folder, sparsity=0.8, shape=(12,)), BenchConfig(batches=(1, 3), seconds=0.02))
    assert found["network"]["inputs"] == ["int64[12]"] * 3
    timed = {p["engine"] for p in found["points"]}
    assert {"torch", "sparse"} <= timed
    assert all(p["error"] < 1e-4 for p in found["points"] if p["precision"] == "float32")
    assert not [r for r in found["refused"] if "not installed" not in r["reason"]]


def test_a_file_of_a_folder_s_network_takes_the_folder_for_what_it_was(folder):
    small = sc.prune(resolve.network(folder), 0.5, granularity="neuron", criterion="l2", recovery="none",
                     example=resolve.find(folder).example)
    sc.save(small, "small.safetensors")
    found = bench(Subject.parse("small.safetensors", model=folder),
                  BenchConfig(batches=(2,), seconds=0.02, engines=("torch",)))
    assert found["network"]["cut"] == "neuron"
    assert found["network"]["bytes"] < found["network"]["bytes_before"]
    assert [(p["engine"], p["network"]) for p in found["points"]] == [("torch", "original"), ("torch", "cut")]


def test_an_exported_program_is_timed_at_the_batches_that_it_takes():
    exported("open.pt2")
    exported("two.pt2", 2)
    found = bench(Subject.parse("open.pt2", trust=True, sparsity=0.5),
                  BenchConfig(batches=(1, 5), seconds=0.02, engines=("torch", "sparse")))
    assert [p["batch"] for p in found["points"]] == [1, 1, 1, 5, 5, 5]
    with pytest.raises(SecateurError, match=r"'two.pt2' accepts batches of 2 only: use --batch 2"):
        bench(Subject.parse("two.pt2", trust=True), BenchConfig(batches=(1, 2)))
    sc.save(sc.prune(tiny(), 0.5, skip=()), "graph.safetensors", example=torch.rand(2, 1, 4, 4))
    assert sc.load("graph.safetensors").batch == 0


def test_a_program_without_its_example_is_given_random_inputs_of_its_sizes():
    program = torch.export.export(tiny(), (torch.rand(2, 1, 4, 4),), dynamic_shapes=({0: torch.export.Dim("n")},))
    program.example_inputs = None
    torch.export.save(program, "mine.pt2")
    (found,) = resolve.find("mine.pt2", Options(trust=True)).example
    assert found.shape[1:] == (1, 4, 4)
    assert "1: 12 x neuron" in said("info", "mine.pt2", "--trust")
    program = torch.export.export(nn.Embedding(5, 3), (torch.tensor([[1, 2]]),))
    program.example_inputs = None
    torch.export.save(program, "whole.pt2")
    assert resolve.find("whole.pt2", Options(trust=True)).example is None


@pytest.mark.slow
def test_a_cut_program_is_timed_and_exported_with_inputs_like_those_that_it_was_cut_with(folder):
    small = sc.prune(resolve.network(folder), 0.5, granularity="neuron", criterion="l2", recovery="none",
                     example=resolve.find(folder).example)
    sc.export(small, "small.pt2", resolve.find(folder).example, to="pt2")
    like = resolve.find("small.pt2", Options(trust=True)).example
    assert {n: (x.dtype, x.ndim) for n, x in like.items()} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask"), (torch.int64, 2))
    assert "neuron" in said("info", "small.pt2", "--trust")
    found = bench(Subject.parse("small.pt2", trust=True, shape=(16,)),
                  BenchConfig(batches=(2,), seconds=0.02, engines=("torch",)))
    assert found["network"]["inputs"] == ["int64[16]"] * 3


@pytest.mark.slow
def test_the_graph_of_a_file_tells_its_inputs_and_takes_sentences_of_any_length(folder):
    source = resolve.find(folder)
    net = sc.prune(source.make(), 0.5, recovery="none", skip=())
    sc.save(net, "words.safetensors", example=source.example)
    alone = sc.load("words.safetensors")
    assert set(alone.example()) == {"input_ids", "token_type_ids", "attention_mask"}
    for length in (2, 5, 40):
        given = {n: x[:, torch.arange(length) % x.shape[1]] for n, x in alone.example().items()}
        given["attention_mask"] = torch.ones_like(given["attention_mask"])
        with torch.no_grad():
            assert torch.allclose(alone(**given)["pooler_output"], net(**given).pooler_output, atol=1e-5)
    found = bench(Subject.parse("words.safetensors", shape=(16,)),
                  BenchConfig(batches=(2,), seconds=0.02, engines=("torch", "sparse")))
    assert found["network"]["inputs"] == ["int64[16]"] * 3
    assert "input_ids [batch, length]" in said("export", "words.safetensors", "--to", "pt2")


@pytest.mark.parametrize("to", sweep(["pt2", "onnx"], {"pt2"}.__contains__))
def test_any_network_is_exported_with_its_lengths_open(folder, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    assert "input_ids [batch, length]" in said("export", folder, "--to", to)
    with pytest.raises(SecateurError, match="--factory is allowed with a file of secateur only"):
        said("export", folder, "--model", "mlp", "--to", to, "--force")


def test_a_factory_gives_the_same_network_to_every_process():
    make = Subject(model="support:tiny")
    for one, two in zip(make.original().parameters(), make.pruned_network().parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("command", ["info", "bench"])
@pytest.mark.parametrize(("name", "message"), [
    ("gone.safetensors", "there is no such file"), ("plain.safetensors", "MODEL --weights FILE"),
    ("net.pt", "can run code when it is loaded"), ("mlpp", "did you mean 'mlp'"),
    ("empty", "the folder has no config.json"), ("cut.bin2", "cut.bin2")])
def test_what_names_no_network_is_refused_alike(tmp_path, command, name, message):
    save_file({"weight": torch.ones(2, 2)}, "plain.safetensors")
    torch.save({}, "net.pt")
    (tmp_path / "empty").mkdir()
    sc.save(sc.prune(tiny(), 0.5, skip=()), "whole.safetensors")
    (tmp_path / "cut.bin2").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:100])
    with pytest.raises(SecateurError) as raised:
        said(command, name)
    assert message in str(raised.value)
    assert "unknown model 'cut.bin2'" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_info_takes_a_folder_and_a_program(folder):
    exported("net.pt2")
    assert "encoder.layer.0.intermediate.dense: 64 x neuron" in said("info", folder)
    assert "1: 12 x neuron" in said("info", "net.pt2", "--trust")


def test_a_folder_whose_shapes_are_others_is_refused_with_the_tensors(folder):
    config = Path(folder) / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 16'))
    with pytest.raises(SecateurError, match=r"\d+ tensors do not have the shapes that config.json states: \w+\S+"):
        resolve.find(folder)


def test_inputs_by_name_keep_their_names():
    x, y = torch.ones(2, 3), torch.zeros(2)
    assert example_inputs.tensors_and_names({"x": x, "y": y}, "net") == ((x, y), ("x", "y"))
    assert example_inputs.tensors_and_names([x], "net") == ((x,), ())
    for wrong in ({"x": 3}, (), torch.tensor(1.0), {}):
        with pytest.raises(SecateurError, match="the inputs of 'net': allowed is a tensor"):
            example_inputs.tensors_and_names(wrong, "net")


def test_the_shape_of_a_network_of_sentences_is_how_many_tokens(folder):
    source = resolve.find(folder)
    found = example_inputs.example_for(source.make(), source, Options(shape=(9,)), folder)
    assert {tuple(x.shape) for x in found.values()} == {(2, 9)}
    assert found["attention_mask"].all()
    for wrong, most in (((200,), 128), ((3, 4), 3)):
        with pytest.raises(SecateurError, match=rf"allowed is one number, the tokens per sentence, at most {most}"):
            example_inputs.example_for(source.make(), source, Options(shape=wrong), folder)


def test_without_any_word_of_inputs_they_are_refused():
    with pytest.raises(SecateurError, match="the inputs of 'net' are not known: give --shape"):
        example_inputs.example_for(nn.Linear(2, 2), Source(nn.Identity, ""), Options(), "net")
