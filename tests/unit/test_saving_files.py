"""Files of networks: what is refused, what an interruption leaves, and state beside the weights."""

import copy

import pytest
import safetensors.torch
import torch
from support import blobs, tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.core import paths
from secateur.data.input_spec import InputSpec, TensorSpec
from secateur.measure.size import tensors

X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small():
    return sc.prune(tiny(), 0.5, granularity="neuron", example=X[:1])


def refused(*words, **given):
    path, make = words
    with pytest.raises(sc.SecateurError) as caught:
        sc.load(path, make, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def wider():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 9, bias=False),
                         nn.ReLU(), nn.Linear(9, 4, bias=False))


def test_another_network_is_refused(small, tmp_path):
    told = refused(sc.save(small, tmp_path / "cut.safetensors"), wider)
    assert "2 tensors differ: 3.weight is [8, 12] in the file but [9, 12] in that network; 5.weight is [4, 8]" in told
    told = refused(sc.save(sc.prune(tiny(), 0.5, skip=()), tmp_path / "cut.safetensors"), lambda: nn.Linear(2, 2))
    assert "1.weight is [12, 16] in the file but missing from that network; 3.weight is [8, 12] in the file but" in told
    assert "weight is [2, 2] in that network but missing from the file; bias is [2] in that network" in told


def test_a_network_whose_code_ties_other_axes_is_refused(small, tmp_path):
    class Tied(nn.Sequential):
        def forward(self, x):
            hidden = self[1](self[0](x)).relu()
            return self[5](self[3](hidden).relu() + hidden[:, :8])

    told = refused(sc.save(small, tmp_path / "cut.safetensors"), lambda: Tied(*tiny()))
    assert "has no group '1' like the one that was cut" in told or "has no group '3'" in told


def test_files_that_are_missing_damaged_or_of_other_origin(small, tmp_path):
    path = tmp_path / "cut.safetensors"
    assert "No such file" in refused(path, tiny)
    whole = sc.save(small, path).read_bytes()
    path.write_bytes(whole[:-3])
    assert "is not a valid safetensors file" in refused(path, tiny)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "is damaged: its checksum is" in refused(path, tiny)
    safetensors.torch.save_file(tiny().state_dict(), path)
    assert "was not written by secateur.save: it says no format" in refused(path, tiny)


def test_what_makes_the_network_is_checked(small, tmp_path):
    path = sc.save(small, tmp_path / "cut.safetensors")
    assert "got a Sequential as make_model" in refused(path, tiny())
    assert "make_model returned a str" in refused(path, lambda: "net")


@pytest.mark.parametrize("cut", ["weight", "neuron"])
def test_a_factory_on_the_device_meta_gets_the_tensors_of_the_file(cut, tmp_path):
    net = sc.prune(tiny(), 0.5, granularity=cut, criterion={"weight": "magnitude", "neuron": "l2"}[cut], example=X,
                   skip=())
    path = sc.save(net, tmp_path / "cut.safetensors")
    back = sc.load(path, lambda: tiny().to("meta"))
    assert {p.device.type for p in back.parameters()} == {"cpu"}
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), net.parameters(), strict=True))
    assert torch.equal(back(X), net(X))


@pytest.mark.parametrize(("made", "message"), [
    (lambda small: "net", "got a str"),
    (lambda small: sc.compile(sc.prune(tiny(), 0.5, skip=()), X), "got a compiled network"),
    (lambda small: nn.Sequential(small, nn.ReLU()), "module '0' was cut by itself"),
])
def test_what_cannot_be_made_again_is_not_saved(small, made, message, tmp_path):
    with pytest.raises(sc.SecateurError, match=message):
        sc.save(made(small), tmp_path / "cut.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_cut_graph_without_its_record_is_not_saved(tmp_path):
    import networks

    model, example = networks.NETWORKS["sizes-in-the-code"]()
    graph = sc.apply(model.eval(), sc.plan(model, 0.5, granularity="neuron", example=example))
    del vars(graph)["_secateur_steps"]
    with pytest.raises(sc.SecateurError, match="has lost the record of its cut"):
        sc.save(graph, tmp_path / "cut.safetensors")


def test_a_folder_that_is_not_there(small, tmp_path):
    with pytest.raises(sc.SecateurError, match="there is no folder"):
        sc.save(small, tmp_path / "none" / "cut.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(sc.SecateurError, match="cannot write"):
        sc.save(small, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_interruption_leaves_the_old_file(small, tmp_path, monkeypatch):
    path = sc.save(tiny(), tmp_path / "cut.safetensors")
    before = path.read_bytes()

    def stopped(path):
        assert path.stat().st_size > 8
        raise KeyboardInterrupt

    monkeypatch.setattr(paths, "sync", stopped)
    with pytest.raises(KeyboardInterrupt):
        sc.save(small, path)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.safetensors"]
    assert path.read_bytes() == before


class Stateful(nn.Module):
    """A tied weight, a buffer that is not persistent, one that is, a view of a larger tensor."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.two.weight = self.one.weight
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("scale", torch.rand(6), persistent=False)
        self.register_buffer("part", torch.rand(12)[3:9])

    def forward(self, x):
        return self.two(self.norm(self.one(x) * self.scale).relu()) + self.part


def test_ties_stay_and_every_buffer_comes_back(tmp_path):
    net = sc.prune(Stateful(), 0.5, skip=()).train()
    net(torch.rand(8, 6))
    back = sc.load(sc.save(net, tmp_path / "cut.safetensors"), Stateful)
    assert back.two.weight is back.one.weight
    names = dict(tensors(net))
    assert {"scale", "part", "norm.running_mean", "norm.num_batches_tracked"} <= set(names)
    assert all(torch.equal(t, names[n]) for n, t in tensors(back))


def test_inputs_are_remembered_by_shape_type_and_bounds():
    example = {"ids": torch.tensor([[3, 7]]), "mask": torch.tensor([True, False]), "x": (X, 2.5, None)}
    drawn = InputSpec.from_json(InputSpec.of(example).to_json()).random()
    assert drawn["ids"].shape == (1, 2) and 3 <= int(drawn["ids"].min()) <= int(drawn["ids"].max()) <= 7
    assert torch.equal(drawn["mask"], example["mask"])
    assert drawn["x"][0].shape == X.shape and drawn["x"][1:] == (2.5, None)
    assert TensorSpec.of(X).to_plain() == {"dtype": "float32", "shape": [4, 1, 4, 4]}


class Named(nn.Module):
    """Takes an object beside a tensor."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x, kind=None):
        return self.last(self.first(x).relu())


def test_inputs_that_are_no_tensors_are_asked_for_again(tmp_path):
    assert InputSpec.of((X, object())).to_json() == ""
    example = (torch.rand(2, 4), torch.strided)
    net = Named()
    small = sc.apply(net, sc.plan(net, 0.5, granularity="neuron", example=torch.rand(2, 4)))
    from dataclasses import replace

    from secateur.pruning.history import remember, steps

    remember(small, [replace(steps(small)[0], example="")])
    path = sc.save(small, tmp_path / "cut.safetensors")
    assert "pass similar inputs as example=" in refused(path, Named)
    back = sc.load(path, Named, example=example[0])
    assert torch.equal(back(example[0]), small(example[0]))


def test_pruned_weights_are_plain_weights_for_a_study(tmp_path):
    from secateur import models

    net = sc.prune(tiny(), 0.5, skip=())
    back = models.load_weights(tiny(), sc.save(net, tmp_path / "cut.safetensors"))
    assert torch.equal(back(blobs()[0]), net(blobs()[0]))


def test_the_partial_file_is_written_beside_and_is_on_the_disk_before_it_has_the_name(small, tmp_path, monkeypatch):
    path, seen = sc.save(tiny(), tmp_path / "cut.safetensors"), []
    before = path.read_bytes()
    monkeypatch.setattr(paths, "sync", lambda p: seen.append((p, path.read_bytes() == before)))
    files.save(small, path)
    (scratch, first), second = seen
    assert first and second == (tmp_path, False)
    assert scratch.match(".cut.safetensors.*.partial/cut.safetensors") and scratch.parent.parent == tmp_path
    assert [p.name for p in tmp_path.iterdir()] == ["cut.safetensors"]


def test_a_link_stays_a_link(small, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "far" / "cut.safetensors")
    sc.save(small, tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink() and (tmp_path / "far" / "cut.safetensors").is_file()


@pytest.mark.filterwarnings("error::FutureWarning")
def test_a_network_out_of_a_file_is_copied_without_a_warning(tmp_path):
    network = sc.prune(nn.Linear(4, 3), 0.5, skip=())
    back = sc.load(sc.save(network, tmp_path / "net.safetensors", example=torch.rand(2, 4)))
    twin = copy.deepcopy(back)
    with torch.no_grad():
        twin.weight.zero_()
    assert torch.equal(back(torch.ones(3, 4)), network(torch.ones(3, 4)))
    assert torch.equal(twin(torch.ones(3, 4)), network.bias.expand(3, 3))
