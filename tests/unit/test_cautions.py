"""What a plan, a row and a warning tell: weights that nothing reads, samples that are fewer than inputs."""

import warnings

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core.errors import FewSamplesWarning
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.prune import cut_network
from secateur.pruning.checks import underdetermined_layers
from secateur.report.pruned import remarks

X = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))


class Idle(nn.Module):
    """Of its layers one is never called, and one is read without being called."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.idle = nn.Linear(8, 50)

    def forward(self, x):
        hidden = nn.functional.linear(self.first(x).relu(), self.second.weight)
        return self.last(hidden)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize("scope", ["layer", "global", "sensitivity"])
def test_weights_that_nothing_reads_are_told(scope):
    (note,) = sc.plan(Idle(), 0.5, scope=scope, data=X, skip=()).notes
    assert note == ("idle.weight: not used for these samples, but its 400 items count toward the sparsity; skip "
                    "'idle' if it is never used")
    assert sc.plan(Idle(), 0.5, example=X[:1], skip=()).notes == (note,)
    assert not sc.plan(Idle(), 0.5, scope=scope, data=X, skip=["idle"]).notes
    assert not sc.plan(Idle(), 0.5, skip=()).notes


@pytest.mark.parametrize("made", [
    nn.LSTM(12, 8), nn.GRUCell(12, 8), nn.TransformerEncoderLayer(12, 2, 16, batch_first=True).eval(),
    nn.TransformerEncoderLayer(12, 2, 16).train(), nn.Sequential(nn.Conv1d(1, 2, 3), nn.ConvTranspose1d(2, 1, 3))])
def test_weights_that_are_read_in_other_ways_are_not(made):
    shapes = {nn.Sequential: (6, 1, 12), nn.GRUCell: (6, 12)}
    x = X[:6].view(shapes.get(type(made), (2, 3, 12)))
    assert not [note for note in sc.plan(made, 0.5, data=x, skip=()).notes if "nothing reads it" in note]


class Paths(nn.Module):
    """Which layer is read depends on a flag, given by keyword."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(12, 4), nn.Linear(12, 4), nn.Linear(12, 4)

    def forward(self, x, first=True):
        return self.one(x) if first else self.two(x)


def test_examples_of_all_kinds_are_run():
    two, three = ("two.weight", "three.weight")
    for example, wanted in ((X[:1], [two, three]), ((X[:1], True), [two, three]), ({"x": X[:1]}, [two, three]),
                            ([X[:1], {"x": X[:1], "first": False}], [three])):
        assert [n.partition(":")[0] for n in sc.plan(Paths(), 0.5, example=example, skip=()).notes] == wanted
    with pytest.raises(sc.SecateurError, match=r"does not run on \(1, 12\) float64: RuntimeError"):
        sc.plan(Paths(), 0.5, example=X[:1].double(), skip=())


def test_looking_for_them_leaves_no_trace():
    made = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)).train()
    before, drawn = {n: t.clone() for n, t in made.state_dict().items()}, torch.get_rng_state()
    sc.plan(made, 0.5, data=X, skip=())
    assert all(torch.equal(t, before[n]) for n, t in made.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert made.training


@pytest.mark.parametrize("recovery", ["reconstruct", "best", "sparsegpt"])
def test_a_refit_to_few_samples_warns_once(recovery):
    with pytest.warns(FewSamplesWarning, match=r"refit of 2 of 2 layers .*\(2: 10 rows, 16 inputs\)") as told:
        sc.prune(net(), 0.5, data=X[:10], recovery=recovery, skip=())
    (few,) = [one for one in told if one.category is FewSamplesWarning]
    assert few.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", FewSamplesWarning)
        sc.prune(net(), 0.5, data=X[:16], recovery=recovery, skip=())
        sc.prune(net(), 0.5, data=X[:10], recovery="none", skip=())


def test_places_of_a_feature_map_are_rows():
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    with pytest.warns(FewSamplesWarning, match=r"1 of 2 layers had fewer rows than inputs \(3: 4 rows, 144 inputs\)"):
        sc.prune(made, 0.5, data=x, skip=())


@pytest.mark.parametrize("criterion", ["obs", "sparsegpt"])
def test_a_plan_tells_that_its_criterion_saw_few(criterion):
    (note,) = sc.plan(net(), 0.5, criterion=criterion, data=X[:14], skip=()).notes
    assert f"criterion '{criterion}' of 1 of 2 layers had fewer rows than inputs (2: 14 rows" in note
    assert not sc.plan(net(), 0.5, criterion=criterion, data=X[:16], skip=()).notes


def test_a_plan_of_neurons_tells_it_too():
    (note,) = sc.plan(net(), 0.5, granularity="neuron", data=X[:10]).notes
    assert "criterion 'elimination' of 1 of 1 layers" in note
    assert "(0: 10 rows, 16 inputs)" in note
    assert not sc.plan(net(), 0.5, granularity="neuron", data=X[:16]).notes


def test_a_row_and_a_file_tell_it(tmp_path):
    given = {"model": "support:tiny", "data": "support:blobs", "epochs": 1, "latency_batches": (), "calibration": 9}
    config = sc.StudyConfig(granularity=("weight",), sparsity=(0, 0.5), recovery=("reconstruct",), seeds=1,
                            criterion=("magnitude",), uncut_bits=(), **given)
    run = sc.study(config=config, out=tmp_path / "run")
    assert [[n for n in p["notes"] if "few samples: the refit of" in n] != [] for p in run.points] == [True, True]
    done = cut_network(CutConfig(sparsity=0.5, recovery=("reconstruct",), out=str(tmp_path / "a.safetensors"), **given))
    assert "trained here for 1 epoch before the cut" in remarks(done)
    assert any(note.startswith("few samples: the refit of") for note in remarks(done))


def test_the_layer_with_the_fewest_is_named():
    (note,) = underdetermined_layers({"a": (3, 4), "b": (3, 9), "c": (9, 9)}, "it")
    assert "it of 2 of 3 layers" in note
    assert "(b: 3 rows, 9 inputs)" in note
    assert not list(underdetermined_layers({"a": (4, 4)}, "it"))
