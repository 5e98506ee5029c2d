"""Recoveries against least squares solved from scratch, published code written slowly, and networks done by hand."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core import registry
from secateur.core.linalg import Equations, damp
from secateur.data.batch import Batch
from secateur.data.calibration import calibration
from secateur.pruning.selection import Selection
from secateur.recovery.layer_io import RELUS, output_readers
from secateur.recovery.methods.base import Recovery
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.methods.rewind import Rewind
from secateur.recovery.methods.sparsegpt import sweep
from secateur.recovery.pipeline import recover


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 4))


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2),
                         nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 4))


def samples(net, count=600):
    torch.manual_seed(1)
    first = net[0]
    if isinstance(first, nn.Linear):
        return torch.randn(count, 12) @ torch.randn(12, 12)
    return torch.randn(count, 2, 6, 6)


def apart(net, other, x):
    with torch.no_grad():
        return float((net.eval()(x) - other.eval()(x)).square().mean())


@pytest.mark.parametrize("left", [0, 1, 3, 5, 6])
def test_least_squares_on_a_support_is_that_of_its_columns(left):
    draw = torch.Generator().manual_seed(left)
    x, y = torch.randn(50, 6, generator=draw).double(), torch.randn(50, 4, generator=draw).double()
    support = torch.rand(4, 6, generator=draw).argsort(1) < left
    found = Equations(x.T @ x, support).solve(x.T @ y)
    for row, mask, target in zip(found, support, y.T, strict=True):
        want = torch.zeros(6).double()
        if left:
            want[mask] = torch.linalg.lstsq(x[:, mask], target[:, None]).solution[:, 0]
        assert torch.allclose(row, want, atol=1e-4)


def test_ill_conditioned_equations_are_solved_in_float64():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=draw).double()
    x[:, 4] = x[:, 3] + 1e-5 * torch.randn(40, generator=draw).double()
    want = torch.arange(1.0, 6.0).double()
    found = Equations(x.T @ x).solve(x.T @ (x @ want)[:, None])
    assert torch.allclose(found[0], want, rtol=1e-4)


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_refitted_layers_are_nearer_and_what_went_stays_gone(make, granularity):
    net, x = make().eval(), samples(make())
    plan = sc.plan(net, 0.5, granularity=granularity, criterion="l2" if granularity == "neuron" else "magnitude",
                   example=x[:1], skip=[str(len(net) - 1)])
    cut, before = sc.apply(net, plan), copy.deepcopy(net.state_dict())
    refitted = recover(net, copy.deepcopy(cut), plan, "reconstruct", calibration(x)).network
    assert apart(net, refitted, x) < 0.75 * apart(net, cut, x)
    for name, parameter in refitted.named_parameters():
        assert parameter.shape == cut.get_parameter(name).shape
        if granularity == "weight":
            assert not parameter[cut.get_parameter(name) == 0].any()
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_a_smaller_network_has_memory_of_its_own():
    net, x = mlp(), samples(mlp())
    small = sc.prune(net, 0.5, granularity="neuron", criterion="l2", example=x[:1])
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_a_redundant_neuron_is_given_back_exactly():
    """Two units that are copies: one goes, and the next layer, bias and all, gives what it gave."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = net[0].weight[0], net[0].bias[0]
    x = torch.randn(400, 3)
    small = sc.prune(net, 0.25, granularity="neuron", criterion="cholesky", data=x, recovery=Reconstruct())
    assert small[0].out_features == 3
    assert torch.allclose(small(x), net(x), atol=2e-3)


def test_one_layer_is_the_ridge_regression_on_its_mask():
    net, x = nn.Sequential(nn.Linear(8, 3)), torch.randn(900, 8) @ torch.randn(8, 8)
    plan = sc.plan(net, 0.5, skip=())
    found = recover(net, sc.apply(net, plan), plan, Reconstruct(), calibration(x)).network
    errors = (found(x) - net(x)).square().sum(0).tolist()
    ones = torch.cat([x, torch.ones(900, 1)], 1)
    for o in range(3):
        mask = torch.cat([plan.cuts[0].keep[o], torch.tensor([True])])
        target = net(x)[:, o:o + 1].detach()
        least = (ones[:, mask] @ torch.linalg.lstsq(ones[:, mask], target).solution - target).square().sum()
        assert errors[o] <= 1.02 * float(least) + 1e-6


def test_who_reads_a_layer_is_seen():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d, self.e = (nn.Linear(4, 4) for _ in range(5))

        def forward(self, x):
            a, b, c, d = self.a(x), self.b(x), self.c(x), self.d(x)
            joined = torch.cat([c, c.relu()], 1)
            return torch.relu(a) + nn.functional.relu(b) * b + joined[:, :4], d, d.relu(), self.e(x).relu_()

    net = Net().eval()
    readers = output_readers(net, Batch((torch.randn(2, 4),)))
    rectified = {n for n, r in readers.items() if r and set(r) <= RELUS}
    assert rectified == {"a", "e"}
    assert list(readers) == ["a", "b", "c", "d", "e"]


def test_negative_outputs_before_a_relu_need_only_stay_negative():
    net, x = mlp(), samples(mlp())
    plan = sc.plan(net, 0.7, skip=["4"])
    plain, aware = (recover(net, sc.apply(net, plan), plan, Reconstruct(relu_rounds=r), calibration(x)).network
                    for r in (0, 4))
    hidden = [(m[:2](x) - net[:2](x)).square().mean() for m in (plain, aware)]
    assert hidden[1] < hidden[0]


def test_rechosen_weights_are_as_many_and_better():
    net, x = mlp(), samples(mlp())
    plan = sc.plan(net, 0.7, skip=["4"])
    kept, chosen = (recover(net, sc.apply(net, plan), plan, r, calibration(x)).network
                    for r in (Reconstruct(), Rechoose()))
    for layer in (0, 2):
        assert int((chosen[layer].weight != 0).sum()) == int((kept[layer].weight != 0).sum())
    assert apart(net[:2], chosen[:2], x) < apart(net[:2], kept[:2], x)


def test_rechosen_weights_are_those_of_a_search_over_all_masks():
    """One output, five inputs of which two stay: all ten masks are tried."""
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(500, 5, generator=draw) @ torch.randn(5, 5, generator=draw)
    net = nn.Sequential(nn.Linear(5, 1, bias=False))
    net[0].weight.data = torch.randn(1, 5, generator=draw)
    found = sc.prune(net, 0.6, data=x, recovery="rechoose", skip=())
    y = (x @ net[0].weight.T).detach()
    pairs = [(i, j) for i in range(5) for j in range(i)]
    left = {p: float((x[:, p] @ torch.linalg.lstsq(x[:, p], y).solution - y).square().sum()) for p in pairs}
    error = float((found(x) - y).detach().square().sum())
    assert error <= 1.05 * sorted(left.values())[0] + 1e-6


def test_sparsegpt_is_the_published_procedure():
    """Against the algorithm of the paper written out for one block, weight by weight in float64."""
    draw = torch.Generator().manual_seed(2)
    x, weight = torch.randn(300, 6, generator=draw).double(), torch.randn(4, 6, generator=draw).double()
    gram = damp((x.T @ x / 300)[None])
    found = sweep(weight[None], gram, 12, 6)[0]
    rest, left = torch.linalg.inv(gram[0]), weight.clone()
    factors = []
    for i in range(6):
        factors.append(rest[i, i].clone())
        rest = rest - rest[:, i:i + 1] * rest[i:i + 1] / rest[i, i]
        rest[i, i] = 1
    scores = weight.square() / torch.stack(factors)
    mask = torch.zeros(24, dtype=torch.bool).scatter(0, scores.flatten().argsort()[:12], True).view(4, 6)
    for row in range(4):
        inverse = torch.linalg.inv(gram[0])
        for i in range(6):
            if mask[row, i]:
                left[row] -= left[row, i] / inverse[i, i] * inverse[i]
            inverse = inverse - inverse[:, i:i + 1] * inverse[i:i + 1] / inverse[i, i]
            inverse[i, i] = 1
    assert torch.allclose(found, torch.where(mask, 0, left), atol=1e-8)
    assert int((found == 0).sum()) == 12


def test_batch_norms_are_recalibrated_to_the_cut_network():
    net, x = cnn(), samples(cnn()) + 3
    plan = sc.plan(net, 0.5, granularity="neuron", example=x[:1])
    small = recover(net, sc.apply(net, plan), plan, "recalibrate", calibration([x[:300], x[300:]])).network
    with torch.no_grad():
        seen = small[0](x)
    assert torch.allclose(small[1].running_mean, seen.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(small[1].running_var, seen.var((0, 2, 3)), rtol=1e-2)
    assert not small[1].training or small.training


def test_finetuning_learns_keeps_zeros_and_is_the_same_each_time():
    net, x = mlp(), samples(mlp())
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    how = Finetune(epochs=3, patience=2, distil=0.3)
    first, again = (sc.prune(net, 0.8, data=(x, y), recovery=["none", how], seed=4, skip=()) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert [int((first[i].weight == 0).sum()) for i in (0, 2, 4)] == [154, 128, 32]
    plain = sc.prune(net, 0.8, skip=())
    assert nn.functional.cross_entropy(first(x), y) < nn.functional.cross_entropy(plain(x), y)


def test_distilling_alone_needs_no_labels():
    net, x = mlp(), samples(mlp())
    taught = sc.prune(net, 0.5, data=x, recovery=Finetune(epochs=4, distil=1.0), skip=())
    assert apart(net, taught, x) < apart(net, sc.prune(net, 0.5, skip=()), x)
    with pytest.raises(sc.SecateurError, match="recovery finetune needs labelled inputs: pass data="):
        sc.prune(net, 0.5, data=x, recovery="finetune", skip=())


def test_rewinding_gives_the_early_values_where_something_is_left():
    early, late, x = mlp(), mlp(), samples(mlp())
    for parameter in late.parameters():
        parameter.data += 1
    sparse = sc.prune(late, 0.5, recovery=Rewind(early.state_dict()), skip=())
    mask = sc.prune(late, 0.5, skip=())[0].weight != 0
    assert torch.equal(sparse[0].weight, early[0].weight * mask)
    small = sc.prune(late, 0.5, granularity="neuron", example=x, recovery=Rewind(early.state_dict()))
    kept = sc.plan(late, 0.5, granularity="neuron", example=x).cuts[0].keep
    assert torch.equal(small[0].weight, early[0].weight[kept])


def test_the_default_with_data_is_the_best_and_without_is_plain():
    net, x = mlp(), samples(mlp())
    best, plain = sc.prune(net, 0.7, data=x, skip=()), sc.prune(net, 0.7, skip=())
    assert apart(net, best, x) < 0.5 * apart(net, plain, x)
    assert torch.equal(plain[0].weight, sc.apply(net, sc.plan(net, 0.7, skip=()))[0].weight)
    assert Selection(net, sc.PruningSpec(granularity="neuron"), samples=calibration(x)).criterion == "elimination"


@pytest.mark.parametrize("name", registry.files("recovery"))
def test_every_recovery_runs_on_weights_and_neurons_or_refuses(name):
    net, x = mlp(), samples(mlp(), 200)
    y = torch.arange(200) % 4
    for granularity in ("weight", "neuron"):
        plan = sc.plan(net, 0.5, granularity=granularity, criterion="random", example=x[:1], skip=["4"])
        if name == "rewind" or (name in ("rechoose", "sparsegpt", "gradual") and granularity == "neuron"):
            with pytest.raises(sc.SecateurError, match=f"recovery {name}"):
                recover(net, sc.apply(net, plan), plan, name, calibration((x, y)))
            continue
        done = recover(net, sc.apply(net, plan), plan, name, calibration((x, y))).network
        assert torch.isfinite(done(x)).all()
        assert sum(int(p.count_nonzero()) for p in done[0].parameters()) <= sum(
            int(p.count_nonzero()) for p in sc.apply(net, plan)[0].parameters())
    assert issubclass(registry.get("recovery", name), Recovery)


def test_what_is_missing_is_named():
    with pytest.raises(sc.SecateurError, match="recovery reconstruct needs calibration inputs: pass data=$"):
        sc.prune(mlp(), 0.5, recovery="reconstruct", skip=())
    with pytest.raises(sc.SecateurError, match="did you mean 'reconstruct'"):
        sc.prune(mlp(), 0.5, recovery="reconstuct", skip=())
    with pytest.raises(sc.SecateurError, match="recovery rewind needs the earlier weights"):
        sc.prune(mlp(), 0.5, recovery="rewind", skip=())


def test_dampings_without_a_solution_are_left_out():
    """Sums in float32 of inputs that are nearly one are indefinite by rounding, as in EfficientNet-Lite0."""
    from secateur.recovery.least_squares import NormalEquations, best_damping

    # The eigenvalues lie between -2e-4 and 2 of their mean of 1: a pull of 1e-4 of it leaves no solution.
    basis = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).double())[0]
    values = torch.tensor([-2e-4, 2 + 2e-4, 1, 1, 1, 1, 1, 1]).double()
    gram = ((basis * values) @ basis.T)[None]
    some = NormalEquations(gram, torch.ones(1, 8, 2).double(), 10)
    for support in (None, torch.ones(1, 2, 8, dtype=torch.bool)):
        assert best_damping(some, some, support, torch.zeros(1, 2, 8).double()) in (1e-3, 1e-2, 1e-1)
    fine = NormalEquations(torch.eye(8).double()[None], torch.ones(1, 8, 2).double(), 10)
    assert best_damping(fine, fine, None, torch.zeros(1, 2, 8).double()) == 1e-4
