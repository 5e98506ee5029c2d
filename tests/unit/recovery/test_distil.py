"""Distillation: any layer takes part, what cannot learn is returned as it came, with one line that says why."""

import copy
import warnings

import pytest
import torch
from distilled import Recurrent, error, recovered, same, small
from torch import nn

import secateur as sc
from secateur.core.errors import LeftOutWarning
from secateur.data.calibration import calibration
from secateur.recovery.distil_samples import split
from secateur.recovery.pipeline import recover
from secateur.recovery.stages import describe

SHORT = sc.Distil(steps=60, lr=5e-3, batch_size=64)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.head = nn.Linear(6, 16), nn.Linear(16, 3)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = self.inside(x)
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


class Standardised(nn.Linear):
    def forward(self, x):
        weight = self.weight - self.weight.mean(1, keepdim=True)
        return nn.functional.linear(x, weight / (weight.std(1, keepdim=True) + 0.1), self.bias)


class Scaled(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, 3 * torch.tanh(self.weight), self.bias)


NETS = {
    "recurrent": (Recurrent, (5, 6)),
    "attention": (Attention, (5, 6)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 2, 3)),
                   (3, 4, 4)),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
                                        nn.Flatten(), nn.Linear(72, 3)), (4, 5, 5)),
    "standardised": (lambda: nn.Sequential(Standardised(6, 16), nn.ReLU(), Standardised(16, 16), nn.ReLU(),
                                           nn.Linear(16, 3)), (6,)),
    "scaled": (lambda: nn.Sequential(Scaled(6, 16), nn.ReLU(), nn.Linear(16, 3)), (6,))}


@pytest.mark.parametrize("name", NETS)
def test_any_layer_takes_part(name):
    """The error on fresh inputs falls, and every zero of the plain cut stays one."""
    torch.manual_seed(0)
    make, shape = NETS[name]
    net = make().eval()
    x = torch.randn(320, *shape)
    plain = sc.prune(net, 0.6, recovery="none", data=x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = sc.prune(net, 0.6, recovery=sc.Distil(steps=150, lr=0.01, batch_size=64), data=x)
    fresh = torch.randn(100, *shape)
    assert error(net, made, fresh) < 0.93 * error(net, plain, fresh)
    for (key, before), after in zip(plain.state_dict().items(), made.state_dict().values(), strict=True):
        assert before.shape == after.shape, key
        if before.ndim > 1 and float((before == 0).float().mean()) > 0.2:
            assert (after[before == 0] == 0).all(), key


def test_the_same_seed_gives_the_same_network_and_nothing_else_is_touched():
    net, x = small()
    net[2].bias.grad = torch.ones(4)
    net.train()
    before, state = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    one, two, other = (sc.prune(net, 0.8, data=x, recovery=SHORT, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one[0].weight, two[0].weight) and not torch.equal(one[0].weight, other[0].weight)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert net.training and one.training and torch.equal(net[2].bias.grad, torch.ones(4))


def test_best_tells_what_each_step_gained():
    net, x = small()
    result, _ = recovered(net, x, sc.Best(distil=SHORT))
    cut, refit, distilled = result.stages
    assert (cut.name, refit.name, distilled.name) == ("cut", "refit", "distilled")
    assert cut.error > refit.error >= distilled.error
    said = describe(result.stages)
    assert "64 held-out samples" in said and "60 steps by divergence of the softmax" in said
    assert distilled.samples == 64 and f"{distilled.error:.3f} after distillation" in said
    held = torch.cat([batch.inputs[0] for batch in split(calibration(x), False)[1]])
    assert distilled.error == pytest.approx(error(net, result.network, held), rel=1e-4)


def test_a_training_that_harms_gives_back_the_refitted_network():
    net, x = small()
    refit, _ = recovered(net, x, "refit")
    result, _ = recovered(net, x, sc.Best(distil=sc.Distil(steps=40, lr=1e4)))
    assert same(result.network, refit.network)
    assert any(note.startswith("not distilled: none of") for note in result.notes), result.notes


def test_best_chooses_anew_where_it_ends_far_from_the_original(monkeypatch):
    """Every layer has as many zeros as the plan asks for, others than the refit's, and the outputs are closer."""
    monkeypatch.setattr("secateur.recovery.methods.best._FAR", 0.02)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    x = torch.randn(1024, 16)
    plan = sc.plan(net, 0.8, granularity="1x4")
    refit = recover(net, sc.apply(net, plan), plan, "refit", calibration(x)).network
    kept = recover(net, sc.apply(net, plan), plan, ["reconstruct", sc.Distil(steps=600)], calibration(x)).network
    result = recover(net, sc.apply(net, plan), plan, sc.Best(distil=sc.Distil(steps=600)), calibration(x))
    assert "weights chosen anew on the way" in describe(result.stages)
    for cut in plan.cuts:
        zeros = result.network.get_parameter(cut.name) == 0
        assert int(zeros.sum()) == int((~cut.keep).sum())
        assert not torch.equal(zeros, refit.get_parameter(cut.name) == 0)
        assert (zeros.view(-1, 4) == zeros.view(-1, 4)[:, :1]).all()
    fresh = torch.randn(500, 16)
    assert error(net, result.network, fresh) < min(error(net, refit, fresh), error(net, kept, fresh))


class Argmax(nn.Sequential):
    def forward(self, x):
        return super().forward(x).argmax(1)


class Detached(nn.Sequential):
    def forward(self, x):
        return super().forward(x).detach()


class NotFinite(nn.Sequential):
    def forward(self, x):
        made = super().forward(x)
        return torch.where(x[:, :1] > 1, torch.nan, made)


class Constant(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 0 + 3


class WrittenOver(nn.Sequential):
    """Its gradient cannot be computed: what backward needs is written over."""

    def forward(self, x):
        hidden = torch.sigmoid(self[0](x))
        made = self[2](hidden)
        hidden.mul_(2)
        return made


@pytest.mark.parametrize(("kind", "said"), [
    (Argmax, "no tensor of floats"), (Detached, "no gradient"), (NotFinite, "NaN or infinite values of 1792"),
    (Constant, "the same for all samples"), (WrittenOver, "torch cannot compute its gradient")])
def test_what_cannot_be_distilled_comes_back_as_it_was_with_one_line(kind, said):
    net, x = small()
    odd = kind(*net)
    result, plain = recovered(odd, x, SHORT)
    assert same(result.network, plain)
    (note,) = result.notes
    assert note.startswith("not distilled: ") and said in note and "\n" not in note
    with pytest.warns(LeftOutWarning, match="not distilled"):
        sc.recover(odd, plain, data=x, recovery=SHORT)


def test_where_the_original_gives_nan_the_refitted_network_is_returned():
    """The refit is judged by the rows that are numbers."""
    net, x = small()
    odd = NotFinite(*net)
    result, plain = recovered(odd, x, "best")
    numbers = x[x[:, 0] <= 1]
    assert error(net, result.network, numbers) < 0.5 * error(net, plain, numbers)
    assert [stage.error for stage in result.stages] == [None, None]
    (note,) = result.notes
    assert note.startswith("not distilled: output 0 of the original holds")


class Neighbours(nn.Sequential):
    """Nodes of a graph, by a sparse product, which has no gradient in bf16."""

    def forward(self, x):
        ring = torch.eye(len(x)).roll(1, 0).to_sparse()
        return self[2](torch.sparse.mm(ring, self[0](x)).relu())


def test_a_network_whose_gradient_has_no_kernel_in_bf16_learns_in_single_precision():
    net, x = small()
    odd = Neighbours(*net)
    result, plain = recovered(odd, list(x.split(16)), sc.Distil(steps=100, lr=5e-3))
    assert error(odd, result.network, x[:16]) < 0.9 * error(odd, plain, x[:16])


def test_it_is_the_same_under_inference_mode():
    net, x = small()
    wanted = sc.prune(net, 0.8, data=x, recovery=SHORT)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        made = sc.prune(net, 0.8, data=x, recovery=SHORT)
        again = sc.recover(net, sc.prune(net, 0.8), data=x, recovery=SHORT)
    assert same(made, wanted) and same(again, wanted)
    made(x).sum().backward()


@pytest.mark.parametrize(("augment", "said"), [
    (lambda inputs: inputs * torch.nan, "the loss was no longer finite after 0 of 60 steps"),
    (lambda: 3, "augment failed on (8, 8) float32: TypeError")])
def test_an_augment_at_fault_is_named(augment, said):
    net, x = small()
    result, plain = recovered(net, x, sc.Distil(steps=60, augment=augment))
    assert same(result.network, plain)
    (note,) = result.notes
    assert note.startswith("not distilled: ") and said in note and "\n" not in note


def test_the_work_of_an_lstm_does_not_hang_on_the_operator_that_runs_it():
    """In float32 oneDNN runs it as one operator, in float64 it is matrix products: 7 places of 5 samples each."""
    net, x = Recurrent().eval(), torch.randn(5, 7, 6)
    wanted = 3 * 2 * (5 * 7 * 4 * 16 * (6 + 16) + 5 * 16 * 3) / 5  # of one sample: forward, and two backward
    assert sc.Distil(batch_size=1).work(net, calibration(x)) == pytest.approx(wanted)
    assert sc.Distil(batch_size=1).work(net.double(), calibration(x.double())) == pytest.approx(wanted)


def test_few_samples_are_refitted_alone():
    net, x = small()
    result, _ = recovered(net, x[:100], "best")
    refit, _ = recovered(net, x[:100], "refit")
    assert same(result.network, refit.network)
    assert "100 samples are too few to hold out an eighth of them; allowed are 128" in result.notes[-1]


def test_a_cap_of_seconds_that_ended_it_is_said():
    net, x = small()
    result, _ = recovered(net, x, sc.Distil(steps=10_000, seconds=1e-6))
    assert "the 1e-06 seconds were over after 1 of 10000 steps" in result.notes[0]


def test_frozen_parameters_stay():
    net, x = small()
    net[0].bias.requires_grad_(False)
    result, plain = recovered(net, x, SHORT)
    assert torch.equal(result.network[0].bias, plain[0].bias)
    assert not torch.equal(result.network[0].weight, plain[0].weight)


@pytest.mark.parametrize("settings", [{"steps": -1}, {"lr": 0}, {"batch_size": 0}, {"seconds": -1}])
def test_settings_out_of_range(settings):
    with pytest.raises(sc.SecateurError, match="distil"):
        sc.Distil(**settings)


def test_a_network_pruned_in_training_is_recovered_with_its_zeros_where_they_are():
    net, x = small()
    small_one = copy.deepcopy(net)
    pruner = sc.Pruner(small_one, 0.75)
    pruner.step()
    zeroed = pruner.finish()
    made = sc.recover(net, zeroed, data=x)
    zeros = zeroed[0].weight == 0
    assert int(zeros.sum()) == 192 and torch.equal(made[0].weight == 0, zeros)
    assert error(net, made, x) < 0.7 * error(net, zeroed, x)
    with pytest.raises(sc.SecateurError, match="recovery best chooses itself"):
        sc.recover(net, zeroed, data=x, recovery="best")
    with pytest.raises(sc.SecateurError, match="none of the 2 layers' weights is zero"):
        sc.recover(net, net, data=x)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x[:1])
    fewer = sc.recover(net, sc.apply(net, plan), data=x, plan=plan)
    assert fewer[0].out_features == 16


@pytest.mark.parametrize("sparsity", [0.6, 0.95])
def test_dropout_in_training_mode_changes_nothing(sparsity):
    """Distillation runs in evaluation mode, whatever mode the network is in."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4)).eval(), torch.randn(512, 8)
    item = sc.Best(distil=sc.Distil(steps=500))
    still, _ = recovered(net, x, item, sparsity)
    moved, _ = recovered(net.train(), x, item, sparsity)
    assert same(still.network, moved.network)


def test_a_refit_of_few_samples_is_not_made_worse():
    """The refit has seen the samples held out, the training has not: on fresh inputs best is as near, or nearer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).eval()
    x, fresh = torch.randn(160, 32), torch.randn(2000, 32)
    for sparsity in (0.5, 0.7, 0.9):
        refit, best = (recovered(net, x, name, sparsity)[0].network for name in ("refit", "best"))
        assert error(net, best, fresh) <= 1.02 * error(net, refit, fresh)


class Voices(nn.Module):
    """Recurrent layers, a ReLU, unit vectors."""

    def __init__(self, hidden):
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, hidden, 2, batch_first=True), nn.Linear(hidden, 12)
        for parameter in self.lstm.parameters():
            parameter.data.mul_(3)

    def forward(self, x):
        return nn.functional.normalize(self.head(self.lstm(x)[0][:, -1]).relu() + 1e-3, dim=1)


def test_of_few_samples_the_refit_does_not_win_by_having_seen_those_held_out():
    """The refit of all samples is nearer on the samples held out, which it has seen, and further on fresh ones."""
    torch.manual_seed(0)
    net, x, fresh = Voices(96).eval(), torch.randn(256, 8, 6), torch.randn(500, 8, 6)
    plan = sc.plan(net, 0.5, granularity="neuron", data=x)
    item = sc.Best(distil=sc.Distil(steps=100, lr=5e-3, batch_size=64))
    refit, best = (recover(net, sc.apply(net, plan), plan, one, calibration(x)).network for one in ("refit", item))
    held = torch.cat([batch.inputs[0] for batch in split(calibration(x), False)[1]])
    assert error(net, best, held) > error(net, refit, held)
    assert error(net, best, fresh) < 0.9 * error(net, refit, fresh)


def test_where_cut_layers_are_not_refitted_the_plain_cut_is_trained_as_well():
    """The closer of the two is taken, which here is the one that began without the refit."""
    torch.manual_seed(0)
    net, x = Voices(24).eval(), torch.randn(640, 8, 6)
    plan, item = sc.plan(net, 0.5, data=x), sc.Distil(steps=150, lr=5e-3, batch_size=64)
    result = recover(net, sc.apply(net, plan), plan, sc.Best(distil=item), calibration(x))
    alone = recover(net, sc.apply(net, plan), plan, item, calibration(x))
    assert "from the plain cut" in describe(result.stages) and same(result.network, alone.network)
    fit, held = split(calibration(x), False)
    shown, unseen = (torch.cat([batch.inputs[0] for batch in part]) for part in (fit, held))
    start = recover(net, sc.apply(net, plan), plan, "refit", calibration(shown)).network
    behind = recover(net, start, plan, item, calibration(x)).network
    assert error(net, result.network, unseen) < error(net, behind, unseen)


@pytest.mark.parametrize(("near", "measured"), [([2.0, 1.0, 0.0], True), ([2.0, 0.0, 1.0], False)])
def test_batch_norms_are_measured_again_after_a_cut_of_weights_where_that_is_closer(near, measured, monkeypatch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3)).eval()
    distances = iter(near)
    monkeypatch.setattr("secateur.recovery.methods.refit.distance", lambda *_: next(distances))
    x = torch.randn(256, 3, 8, 8) + 1
    found = recovered(net, x, "refit", 0.8)[0].network
    assert torch.equal(found[1].running_mean, net[1].running_mean) is not measured
    if measured:
        given = torch.cat([found[0](part) for part in x.split(512)])
        assert torch.allclose(found[1].running_mean, given.mean((0, 2, 3)), atol=1e-5)
