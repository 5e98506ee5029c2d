"""Iterative pruning, regularisation, distillation and the recipes' loop, against slow twins and by hand."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import blobs, tiny
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.data import resolve
from secateur.training import distillation, fit, group_lasso, l1, rounds, steps_of
from secateur.training.schedules import Exponential

X, Y, TEST_X, TEST_Y = blobs()


def train(steps=30, lr=0.02):
    def loop(model, pruner):
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
            pruner.step()
        return pruner.steps
    return loop


def start(seed=0):
    torch.manual_seed(seed)
    return tiny()


@pytest.mark.parametrize("rewind", ["weights", "rate", "none"])
def test_every_round_loses_the_same_fraction_and_never_gets_any_back(rewind):
    net = start()
    before = [p.detach().clone() for p in net.parameters()]
    done = list(rounds(net, train(), 0.9, 3, rewind, scope="global", skip=()))
    assert [r.plan.removed for r in done] == [0, *(round(320 * (1 - 0.1 ** (k / 3))) for k in (1, 2, 3))]
    assert [r.result for r in done] == [30] * 4
    for early, late in pairwise(done):
        for a, b in zip(early.plan.cuts, late.plan.cuts, strict=True):
            assert not (b.keep & ~a.keep).any()
            assert torch.equal(late.model.get_parameter(b.name) == 0, ~b.keep)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_rewound_weights_start_where_they_were():
    """A round that does not train shows where it starts: at the early weights, or at those of the round before."""
    net, seen = start(), []

    def look(model, pruner):
        seen.append([p.detach().clone() for p in model.parameters()])
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(2)

    for rewind, factor in (("weights", 1), ("rate", 2)):
        seen.clear()
        done = list(rounds(net, look, 0.5, 1, rewind, skip=()))
        kept = [c.keep for c in done[1].plan.cuts]
        assert all(torch.equal(s, factor * p * k) for s, p, k in zip(seen[1], net.parameters(), kept, strict=True))
    early = start(7)
    seen.clear()
    list(rounds(net, look, 0.5, 1, early=early, skip=()))
    assert all(torch.equal(s[s != 0], p[s != 0]) for s, p in zip(seen[1], early.parameters(), strict=True))


def test_a_ticket_learns():
    last = list(rounds(start(), train(60), 0.8, 2, scope="global", skip=()))[-1]
    assert float((last.model(TEST_X).argmax(1) == TEST_Y).float().mean()) > 0.9


def test_rounds_refuse_nonsense():
    with pytest.raises(SecateurError, match="did you mean 'weights'"):
        next(rounds(start(), train(), 0.5, 2, "weigts", skip=()))
    with pytest.raises(SecateurError, match="count 0"):
        next(rounds(start(), train(), 0.5, 0, skip=()))


def net_with_convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 2, 2), nn.Flatten(), nn.Linear(18, 4))


def test_l1_is_the_sum_over_all_weights_in_float64():
    net = net_with_convolutions()
    twin = sum(abs(v) for m in net if hasattr(m, "weight") for v in m.weight.double().flatten().tolist())
    assert l1(net, 0.25).item() == pytest.approx(0.25 * twin)
    assert l1(net, 1.0, skip=["0", "1"]).item() == pytest.approx(net[3].weight.abs().sum().item())


def test_group_lasso_is_a_loop_over_the_outputs():
    net, twin = net_with_convolutions(), 0.0
    for module, axis in ((net[0], 0), (net[1], 1), (net[3], 0)):
        for unit in range(module.weight.shape[axis]):
            values = module.weight.select(axis, unit).double().flatten().tolist()
            twin += math.sqrt(len(values)) * math.sqrt(sum(v * v for v in values))
    assert group_lasso(net, 2.0).item() == pytest.approx(2 * twin, rel=1e-5)


def test_group_lasso_drives_whole_rows_to_zero_and_has_no_nan():
    net = nn.Linear(4, 3, bias=False)
    net.weight.data[1] = 0
    group_lasso(net, 1.0).backward()
    assert torch.isfinite(net.weight.grad).all()
    assert not net.weight.grad[1].any()
    length = net.weight[0].norm()
    assert torch.allclose(net.weight.grad[0], 2 * net.weight[0] / length)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 8), share=st.floats(0, 1))
def test_distillation_is_the_formula_in_float64(seed, temperature, share):
    draws = torch.Generator().manual_seed(seed)
    out, told = torch.randn(3, 4, generator=draws).double(), torch.randn(3, 4, generator=draws).double()
    labels = torch.randint(4, (3,), generator=draws)
    total = 0.0
    for o, t, label in zip(out.tolist(), told.tolist(), labels.tolist(), strict=True):
        p, q = ([math.exp(v / temperature) for v in row] for row in (t, o))
        p, q = ([v / sum(row) for v in row] for row in (p, q))
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        ce = math.log(sum(math.exp(v) for v in o)) - o[label]
        total += (share * temperature ** 2 * kl + (1 - share) * ce) / 3
    assert distillation(out, told, labels, temperature, share).item() == pytest.approx(total)
    assert distillation(out, out, temperature=temperature).item() == pytest.approx(0, abs=1e-9)


def test_distillation_teaches_without_labels_and_leaves_the_teacher():
    teacher, student = start(1), start(2)
    told = teacher(X)
    loss = distillation(student(X), told)
    loss.backward()
    assert student[1].weight.grad.any()
    assert teacher[1].weight.grad is None
    with pytest.raises(SecateurError, match=r"\(2, 3\), the teacher's \(2, 4\)"):
        distillation(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(SecateurError, match="temperature 0"):
        distillation(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0)


def digits_run(epochs=8, **more):
    """A 64-48-10 network on the digits, cut to 80 % over the middle of the training."""
    digits = resolve("digits")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    end = steps_of(digits, epochs // 2, 64)
    schedule = Exponential(0.8, begin=end // 4, end=end, every=5)
    pruner = fit(net, digits, epochs, lambda m, o: sc.Pruner(m, schedule, o, scope="global", skip=()), batch_size=64,
                 lr=1e-2,
                 hold=0.5, **more)
    return net, pruner, accuracy(pruner.finish(), digits)


def accuracy(net, data):
    return float((net(data.test_x).argmax(1) == data.test_y).float().mean())


def test_the_recipe_reaches_the_sparsity_and_beats_one_cut():
    digits = resolve("digits")
    net, pruner, found = digits_run(l1=1e-4)
    assert pruner.plan.removed == round(0.8 * (64 * 48 + 480))
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    assert fit(dense, digits, 8, batch_size=64, lr=1e-2, hold=0.5) is None
    assert found > accuracy(sc.prune(dense, 0.8, scope="global", skip=()), digits) + 0.05
    assert found > accuracy(dense, digits) - 0.04
    again, _, _ = digits_run(l1=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_the_recipe_with_a_teacher_leaves_it_as_it_is():
    digits = resolve("digits")
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    before = copy.deepcopy(teacher)
    plain, _, _ = digits_run(2)
    taught, _, _ = digits_run(2, teacher=teacher, share=1.0)
    assert not torch.equal(plain[1].weight, taught[1].weight)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), before.parameters(), strict=True))
    with pytest.raises(SecateurError, match="hold 1"):
        fit(teacher, digits, 1, hold=1)
    for wrong in ({"epochs": -1}, {"epochs": 1.5}, {"epochs": 1, "batch_size": 0}, {"epochs": 1, "lr": -1.0}):
        with pytest.raises(SecateurError, match=f"{list(wrong)[-1]} .*: allowed are"):
            fit(teacher, digits, **wrong)
    with pytest.raises(SecateurError, match="the training diverged"):
        fit(copy.deepcopy(teacher), digits, 1, lr=1e30)


def test_fit_is_the_loop_by_hand_with_any_samples_and_any_loss():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(3, 4)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    def loss(outputs, labels):
        return (outputs.softmax(1)[:, 1] - labels).square().mean()

    torch.manual_seed(0)
    x, y, labels = torch.randn(40, 6), torch.randn(40, 3), torch.rand(40)
    net = Two()
    hand, told = copy.deepcopy(net), copy.deepcopy(net)
    fit(net, [((x[:25], y[:25]), labels[:25]), ((x[25:], y[25:]), labels[25:])], 2, batch_size=16, lr=0.01, seed=3,
        loss=loss)
    draws, optimizer = torch.Generator().manual_seed(3), torch.optim.Adam(hand.parameters(), lr=0.01)
    for step, part in enumerate(p for _ in range(2) for p in torch.randperm(40, generator=draws).split(16)):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * step / 6)) / 2
        optimizer.zero_grad()
        loss(hand(x[part], y[part]), labels[part]).backward()
        optimizer.step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), hand.parameters(), strict=True))
    fit(told, [((x, y), None)], 1, teacher=net, share=1.0)
    with pytest.raises(SecateurError, match=r"data has no labels; allowed are pairs .* or a teacher with share=1"):
        fit(told, [((x, y), None)], 1, teacher=net)
    with pytest.raises(SecateurError, match="data is None"):
        steps_of(None, 1)


def test_fit_moves_the_inputs_anew_at_every_step_and_asks_the_teacher_about_what_the_network_sees():
    torch.manual_seed(0)
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    net, teacher = nn.Linear(6, 3), nn.Linear(6, 3)
    hand, again, still = (copy.deepcopy(net) for _ in range(3))

    def noise(inputs):
        return inputs + torch.randn_like(inputs)

    settings = {"teacher": teacher, "share": 0.7, "temperature": 2.0, "batch_size": 8, "lr": 0.01, "seed": 5}
    fit(net, (x, y), 2, augment=noise, **settings)
    order, optimizer = torch.Generator().manual_seed(5), torch.optim.Adam(hand.parameters(), lr=0.01)
    torch.manual_seed(5)
    for step, part in enumerate(p for _ in range(2) for p in torch.randperm(20, generator=order).split(8)):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * step / 6)) / 2
        seen = noise(x[part])
        optimizer.zero_grad()
        distillation(hand(seen), teacher(seen), y[part], 2.0, 0.7).backward()
        optimizer.step()
    assert torch.allclose(net.weight, hand.weight, atol=1e-6)
    drawn = torch.get_rng_state()
    fit(again, (x, y), 2, augment=noise, **settings)
    assert torch.equal(again.weight, net.weight)
    assert torch.equal(torch.get_rng_state(), drawn)
    fit(still, (x, y), 2, augment=lambda inputs: inputs, **settings)
    assert not torch.allclose(still.weight, net.weight)


def test_fit_refuses_what_augment_must_not_give():
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    for wrong in (lambda inputs: inputs[1:], lambda inputs: None, lambda inputs: (inputs, inputs)):
        with pytest.raises(SecateurError, match=r"augment returned .* for \(16, 6\) float32: allowed are tensors"):
            fit(nn.Linear(6, 3), (x, y), 1, batch_size=16, augment=wrong)
