"""Every network of the small zoo, cut in every way, comes back from its file bit for bit."""

import copy

import networks
import pytest
import torch
from support import every, tiny

import secateur as sc
from secateur import files
from secateur.measure.size import tensors
from secateur.pruning.history import NAME, steps
from secateur.quantization.kinds import kind_of, refusals

X = torch.rand(48, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def made(name, seed=0):
    torch.manual_seed(seed)
    model, example = networks.NETWORKS[name]()
    return model.eval(), example


def call(model, example):
    with torch.no_grad():
        return model(*example) if isinstance(example, tuple) else model(example)


def same(got, want):
    """Every tensor equal in value, type and name."""
    pairs = list(zip(tensors(got), tensors(want), strict=True))
    return all(a == b and x.dtype == y.dtype and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("name", every(5, networks.NETWORKS))
def test_a_network_without_half_of_its_neurons(name, tmp_path):
    model, example = made(name)
    small = sc.apply(model, sc.plan(model, 0.5, granularity="neuron", example=example))
    sc.save(small, tmp_path / "small.safetensors")
    back = sc.load(tmp_path / "small.safetensors", lambda: made(name, seed=1)[0])
    assert type(back) is type(small)
    assert same(back, small)
    assert torch.equal(call(back, example), call(small, example))


@pytest.mark.parametrize(("granularity", "sparsity"), [("weight", 0.9), ("neuron", 0.5), ("2x4", 0.5), ("2:4", None)])
@pytest.mark.parametrize("data", [None, X], ids=["plain", "recovered"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
def test_every_granularity(granularity, sparsity, data, kind, tmp_path):
    inputs = X.to(kind)
    found = sc.prune(tiny().to(kind), sparsity, granularity=granularity, example=inputs[:1], skip=["5"],
                     data=None if data is None else inputs)
    back = sc.load(sc.save(found, tmp_path / "cut.safetensors"), tiny)
    assert same(back, found)
    assert torch.equal(back(inputs), found(inputs))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("before", [True, False], ids=["half-then-cut", "cut-then-half"])
def test_half_precision(kind, before, tmp_path):
    net, inputs = (tiny().to(kind), X.to(kind)) if before else (tiny(), X)
    found = sc.prune(net, 0.5, granularity="neuron", example=inputs[:2]).to(kind)
    back = sc.load(sc.save(found, tmp_path / "half.safetensors"), tiny)
    assert same(back, found)
    assert {t.dtype for _, t in tensors(back)} == {kind}


@pytest.mark.parametrize("name", every(7, networks.NETWORKS, first=2))
def test_a_network_in_eight_bits(name, tmp_path):
    """By its factory and by its graph; networks of which no layer has that form are passed over."""
    model, example = made(name)
    if not [n for n, m in model.named_modules() if kind_of(m) and n not in refusals(model)]:
        pytest.skip("none of its layers has such a form")
    small = sc.quantize(model, (example, None) if isinstance(example, tuple) else example, keep=())
    path = sc.save(small, tmp_path / "small.safetensors", example)
    assert files.file_bytes(small) == sc.save(small, tmp_path / "plain.safetensors").stat().st_size
    back, graph = sc.load(path, lambda: made(name, seed=1)[0]), sc.load(path)
    assert same(back, small) and dict(tensors(graph)).keys() == dict(tensors(small)).keys()
    assert torch.equal(call(back, example), call(small, example))
    torch.testing.assert_close(call(graph, example), call(small, example), rtol=1e-5, atol=1e-6)


def test_cut_twice_trained_copied_and_cut_by_weights(tmp_path):
    torch.manual_seed(0)  # some networks die of the step below, and nothing of them can be cut
    once = sc.prune(tiny(), 0.25, granularity="neuron", example=X[:1]).train()
    optimizer = torch.optim.SGD(once.parameters(), 0.1)
    once(X).square().sum().backward()
    optimizer.step()
    twice = copy.deepcopy(sc.prune(once, 0.5, granularity="neuron", example=X[:1]))
    found = sc.prune(twice, 0.5, skip=["5"])
    assert [len(steps(n)) for n in (once, twice, found)] == [1, 2, 2]
    back = sc.load(sc.save(found, tmp_path / "cut.safetensors"), tiny)
    assert same(back, found)
    assert same(sc.load(sc.save(back, tmp_path / "again.safetensors"), tiny), found)


def test_the_file_holds_no_values_of_the_example(tmp_path):
    example = torch.full((1, 1, 4, 4), 0.123456789)
    path = sc.save(sc.prune(tiny(), 0.5, granularity="neuron", example=example), tmp_path / "cut.safetensors")
    assert example.numpy().tobytes()[:8] not in path.read_bytes()


def test_a_network_that_was_not_cut_is_saved_too(tmp_path):
    net = tiny()
    assert NAME not in vars(net)
    assert same(sc.load(sc.save(net, tmp_path / "whole.safetensors"), tiny), net)


@pytest.mark.parametrize("name", every(5, networks.NETWORKS, first=1))
def test_without_a_factory_the_graph_gives_the_outputs(name, tmp_path):
    model, example = made(name)
    path = sc.save(model, tmp_path / "net.safetensors", example)
    back = sc.load(path)
    assert same(back, model) and not back.training
    torch.testing.assert_close(call(back, example), call(model, example), rtol=1e-5, atol=1e-6)
    if name != "relative-positions":
        one = tuple(v[:1] for v in example) if isinstance(example, tuple) else example[:1]
        torch.testing.assert_close(call(back, one), call(model, one), rtol=1e-5, atol=1e-6)
    assert sc.save(back, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
