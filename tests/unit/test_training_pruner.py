"""A pruner inside a plain training loop: counts, what survives the optimizer, live sparsity, the finished network."""

import copy

import pytest
import torch
from support import blobs, tiny
from torch import nn

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.pruning.criteria.base import criteria_for
from secateur.training import Live
from secateur.training.regrowth.rigl import Rigl
from secateur.training.schedules import Constant, Linear, OneShot, Polynomial

X, Y, TEST_X, TEST_Y = blobs()
OPTIMIZERS = {"sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
              "adam": lambda p: torch.optim.Adam(p, lr=0.01), "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
              "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5)}


def made(seed=0):
    torch.manual_seed(seed)
    return tiny()


def step(net, optimizer, number=0):
    part = slice(32 * (number % 8), 32 * (number % 8 + 1))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(X[part]), Y[part]).backward()
    optimizer.step()


def zeros(net):
    return sum(int((m.weight == 0).sum()) for m in net.modules() if isinstance(m, nn.Linear))


def weights(net):
    return {n: p.detach().clone() for n, p in net.named_parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_no_momentum_revives_what_is_cut(name, granularity):
    net = made()
    optimizer = OPTIMIZERS[name](net.parameters())
    pruner = sc.Pruner(net, Linear(0.5, begin=5, end=15, every=5), optimizer, granularity=granularity, example=X[:2],
                       skip=())
    gone = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in net.named_parameters()}
    moved = 0
    for number in range(25):
        step(net, optimizer, number)
        moved += any(bool((p.detach()[gone[n]] != 0).any()) for n, p in net.named_parameters())
        pruner.step()
        for n, p in net.named_parameters():
            assert not p.detach()[gone[n]].any()
            gone[n] |= p.detach() == 0
    assert pruner.reached == 0.5
    assert moved > 0
    assert zeros(net) == sum(int(g.sum()) for g in gone.values()) >= 160


def test_without_the_pruner_momentum_does_revive():
    """The control of the test above: the same loop, its masks applied once only."""
    net = made()
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    sc.Pruner(net, 0.5, skip=())
    before = zeros(net)
    step(net, optimizer)
    assert before == 160
    assert zeros(net) < 80


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_count_is_the_one_of_the_schedule(scope):
    net, schedule = made(), Polynomial(0.9, begin=2, end=30, every=7, initial=0.25)
    optimizer = OPTIMIZERS["adam"](net.parameters())
    pruner = sc.Pruner(net, schedule, optimizer, scope=scope, skip=())
    at = 0
    for number in range(1, 41):
        step(net, optimizer, number)
        pruner.step()
        at = number if schedule.due(number) else at
        if scope == "global":
            assert zeros(net) == round(schedule.at(at) * 320)
        assert pruner.plan.removed == zeros(net)
    assert [r["removed"] for r in pruner.summary()] == [173, 86, 29] or scope == "global"
    assert pruner.reached == pytest.approx(0.9)


def test_each_choice_is_the_plan_for_the_network_as_it_is():
    net = made()
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, Linear(0.8, end=10, every=5), optimizer, skip=["5"])
    for number in range(5):
        step(net, optimizer, number)
        before = copy.deepcopy(net)
        pruner.step()
    assert pruner.plan == sc.plan(before, 0.4, skip=["5"])
    planned = sc.apply(before, pruner.plan)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), planned.parameters(), strict=True))


@pytest.mark.parametrize("criterion", criteria_for("weight"))
def test_what_is_cut_stays_cut_whatever_the_criterion(criterion):
    net = made()
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, Linear(0.8, end=8, every=2), optimizer, criterion=criterion, data=(X[:64], Y[:64]), skip=())
    assert pruner.plan.criterion == criterion
    before = pruner.masks
    for number in range(10):
        step(net, optimizer, number)
        pruner.step()
        assert not any((pruner.masks[n] & ~before[n]).any() for n in before)
        before = pruner.masks
    assert pruner.plan.removed == 154 + 77 + 26


@pytest.mark.parametrize(("granularity", "sparsity"), [("4x2", 0.75), ("2:4", 0.5), ("1:4", 0.75), ("neuron", 0.5)])
def test_every_granularity_is_held(granularity, sparsity):
    net = made()
    optimizer = OPTIMIZERS["adam"](net.parameters())
    pruner = sc.Pruner(net, sparsity, optimizer, granularity=granularity, example=X[:2], skip=())
    for number in range(12):
        step(net, optimizer, number)
        pruner.step()
    small = pruner.finish()
    assert pruner.reached == sparsity
    assert torch.allclose(small(TEST_X), net(TEST_X), atol=1e-5)
    if ":" in granularity:
        left, of = map(int, granularity.split(":"))
        assert all(int(g.sum()) == left for k in pruner.masks.values() for g in k.view(-1, of))


@pytest.mark.parametrize("schedule", [Constant(0.5, begin=5, every=5), OneShot(0.5, end=5)])
def test_n_m_comes_at_once(schedule):
    net = made()
    pruner = sc.Pruner(net, schedule, granularity="2:4", skip=())
    found = []
    for number in range(8):
        found.append(zeros(net))
        step(net, torch.optim.SGD(net.parameters(), lr=0.1), number)
        pruner.step()
    assert found == [0] * 5 + [160] * 3


def test_a_plan_is_held_and_a_wrong_one_refused():
    net = made()
    plan = sc.plan(net, 0.75, skip=())
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, plan, optimizer)
    for number in range(5):
        step(net, optimizer, number)
        pruner.step()
    assert pruner.plan == plan
    assert all(torch.equal(net.get_parameter(c.name) != 0, c.keep) for c in plan.cuts)
    with pytest.raises(SecateurError, match="follows a plan, which is fixed"):
        pruner.sparsity = 0.9
    with pytest.raises(SecateurError, match="another network"):
        sc.Pruner(nn.Linear(3, 3), plan)


def test_a_live_sparsity_is_followed_up_and_down():
    net, variable = made(), torch.tensor(0.0)
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, Live(variable, every=2), optimizer, skip=())
    found = []
    for number in range(12):
        variable.fill_({0: 0.0, 4: 0.5, 8: 0.25}.get(number, variable.item()))
        step(net, optimizer, number)
        pruner.step()
        found.append(pruner.reached)
    assert found == [0.0] * 5 + [0.5] * 4 + [0.25] * 3
    assert pruner.plan.removed == 80 <= zeros(net) < 160
    pruner.sparsity = 0.75
    pruner.update()
    assert (pruner.reached, pruner.sparsity) == (0.75, 0.75)
    pruner.sparsity = None
    assert pruner.sparsity == 0.25
    assert sc.Pruner(made(), lambda step: 0.5, skip=()).reached == 0.5


def test_weights_that_come_back_have_no_past():
    net = made()
    optimizer = OPTIMIZERS["adam"](net.parameters())
    pruner = sc.Pruner(net, 0.8, optimizer, skip=())
    for number in range(3):
        step(net, optimizer, number)
        pruner.step()
    was = {n: ~m for n, m in pruner.masks.items()}
    pruner.sparsity = 0.2
    pruner.update()
    back = {n: m & was[n] for n, m in pruner.masks.items()}
    assert sum(int(b.sum()) for b in back.values()) == (154 + 77 + 26) - (38 + 19 + 6)
    for name, mark in back.items():
        state = optimizer.state[net.get_parameter(name)]
        assert not state["exp_avg"][mark].any()
        assert not state["exp_avg_sq"][mark].any()
        assert state["exp_avg"][~was[name]].any()


@pytest.mark.parametrize("how", ["set", "rigl", Rigl(0.5)])
def test_regrowth_keeps_the_number_and_moves_the_weights(how):
    net = made()
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, Constant(0.8, end=40, every=5), optimizer, regrow=how, skip=())
    first = pruner.masks
    for number in range(20):
        step(net, optimizer, number)
        pruner.step()
        assert pruner.plan.removed == 154 + 77 + 26
    assert any(not torch.equal(first[n], m) for n, m in pruner.masks.items())


def test_rigl_brings_back_the_largest_gradients():
    net = nn.Linear(4, 1, bias=False)
    net.weight.data.copy_(torch.tensor([[4.0, 3.0, 0.1, 0.2]]))
    pruner = sc.Pruner(net, Constant(0.5, end=100, every=1), regrow=Rigl(0.5), skip=())
    net.weight.grad = torch.tensor([[0.0, 0.0, -5.0, 1.0]])
    pruner.step()
    assert pruner.masks["weight"].tolist() == [[True, False, True, False]]
    assert net.weight.tolist() == [[4.0, 0.0, 0.0, 0.0]]
    net.weight.grad = None
    with pytest.raises(SecateurError, match="before zero_grad"):
        pruner.step()


def test_thresholds_and_their_moving_average():
    """Scores 1..10; half go: the threshold is 5, its average from 0 with decay 0.5 is 2.5, 3.75, ..."""
    net = nn.Linear(10, 1, bias=False)
    net.weight.data.copy_(torch.arange(1.0, 11.0))
    exact = sc.Pruner(copy.deepcopy(net), 0.5, skip=())
    assert exact.thresholds == {"weight": 5.0}
    exact.update()
    assert exact.thresholds == {"weight": 5.0}
    late = sc.Pruner(net, Constant(0.5, every=1), threshold_decay=0.5, skip=())
    found = [(late.thresholds["weight"], int((net.weight == 0).sum()))]
    for _ in range(3):
        late.step()
        found.append((late.thresholds["weight"], int((net.weight == 0).sum())))
    assert found == [(2.5, 2), (3.75, 3), (4.375, 4), (4.6875, 4)]
    assert late.reached == 0.4


@pytest.mark.parametrize("settings", [{}, {"granularity": "2x2"}, {"granularity": "neuron", "example": X[:2]},
                                      {"regrow": "set"}, {"scope": "global"}])
def test_the_threshold_stays_where_nothing_more_goes(settings):
    net = made()
    pruner = sc.Pruner(net, Constant(0.5), skip=(), **settings)
    first = dict(pruner.thresholds)
    pruner.update()
    assert pruner.thresholds == first
    assert min(first.values()) > 0


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_layers_and_cells(kind):
    torch.manual_seed(0)
    net = kind(6, 5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = sc.Pruner(net, Linear(0.8, end=4, every=2), optimizer, skip=())
    x = torch.randn(3, 6) if "Cell" in kind.__name__ else torch.randn(7, 3, 6)
    for _ in range(6):
        optimizer.zero_grad()
        outputs = net(x)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        outputs.square().sum().backward()
        optimizer.step()
        pruner.step()
    names = [n for n, _ in net.named_parameters() if n.startswith("weight")]
    assert sorted(pruner.masks) == sorted(names)
    for name in names:
        weight = net.get_parameter(name)
        assert int((weight == 0).sum()) == round(0.8 * weight.numel())
    small = pruner.finish()
    twin = kind(6, 5)
    twin.load_state_dict(small.state_dict())
    assert torch.equal(small(x)[0], twin(x)[0])


def test_neurons_are_held_at_zero_and_removed_in_the_end():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Sigmoid(), nn.Linear(12, 8), nn.Tanh(),
                        nn.Linear(8, 4))
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    pruner = sc.Pruner(net, Linear(0.5, end=10, every=2), optimizer, granularity="neuron", example=X[:4])
    for number in range(16):
        step(net, optimizer, number)
        pruner.step()
    small = pruner.finish().eval()
    assert [m.out_features for m in small if isinstance(m, nn.Linear)] == [6, 4, 4]
    assert torch.allclose(small(TEST_X), net.eval()(TEST_X), atol=1e-5)
    assert next(p.shape for p in net.parameters()) == (12, 16)


def test_it_learns_while_it_is_cut():
    net = made()
    optimizer = OPTIMIZERS["adam"](net.parameters())
    pruner = sc.Pruner(net, Polynomial(0.8, end=120, every=10), optimizer, scope="global", skip=())
    for number in range(200):
        step(net, optimizer, number)
        pruner.step()
    accuracy = float((pruner.finish()(TEST_X).argmax(1) == TEST_Y).float().mean())
    assert zeros(net) == 256
    assert accuracy > 0.9


def test_masked_gradients():
    net = made()
    pruner = sc.Pruner(net, 0.9, skip=())
    nn.functional.cross_entropy(net(X), Y).backward()
    assert net[3].weight.grad[~pruner.masks["3.weight"]].any()
    pruner.mask_gradients()
    assert not net[3].weight.grad[~pruner.masks["3.weight"]].any()
    assert net[3].weight.grad.any()


def test_the_finished_network_is_a_plain_one_of_its_own():
    net = made()
    pruner = sc.Pruner(net, 0.5, skip=())
    plain = pruner.finish()
    assert list(plain.state_dict()) == list(tiny().state_dict())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in plain.modules())
    plain[1].weight.data.fill_(7)
    assert not (net[1].weight == 7).any()
    assert "sparsity 0.5000, asked 0.5000" in str(pruner)


@pytest.mark.parametrize(("settings", "message"), [
    ({"schedule": 1.5}, "sparsity 1.5"),
    ({"schedule": "linear"}, "schedule 'linear'"),
    ({"schedule": 0.5, "regrow": "rigle"}, "did you mean 'rigl'"),
    ({"schedule": 0.5, "regrow": "set", "granularity": "neuron"}, "granularity 'weight'"),
    ({"schedule": 0.5, "threshold_decay": 1.0}, "threshold_decay 1.0"),
    ({"schedule": 0.5, "granularity": "neuron"}, "needs example="),
    ({"schedule": 0.5, "skip": ["9"]}, "unknown module in skip '9'"),
    ({"schedule": Live(torch.tensor(2.0))}, "sparsity 2.0"),
    ({"schedule": Linear(0.5, end=40), "granularity": "2:4"}, r"0.125 at step 10, .* Constant\(0.5, begin=0\)"),
])
def test_mistakes_are_one_line(settings, message):
    net = made()
    before = weights(net)
    with pytest.raises(SecateurError, match=message) as caught:
        sc.Pruner(net, **{"skip": (), **settings})
    assert "\n" not in str(caught.value)
    assert all(torch.equal(p, before[n]) for n, p in net.named_parameters())


@pytest.mark.parametrize("scope", ["lamp", "global", "erk"])
def test_many_choices_along_a_schedule_end_at_the_one_cut_where_nothing_is_learned_between(scope):
    """What went has no part in the scores of what stays, in LAMP's sums neither."""
    net = made()
    whole = copy.deepcopy(net)
    pruner = sc.Pruner(net, Linear(0.8, end=30, every=5), scope=scope, skip=())
    for _ in range(30):
        pruner.step()
    once = sc.apply(whole, sc.plan(whole, 0.8, scope=scope, skip=()))
    assert pruner.reached == pytest.approx(0.8, abs=0.005)
    assert all(torch.equal(value, once.state_dict()[name]) for name, value in net.state_dict().items())
