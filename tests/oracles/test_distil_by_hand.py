"""Distillation where the right answer is known: solved by hand, by least squares, or by a slow twin."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.data.batch import Batch
from secateur.data.calibration import Samples, calibration
from secateur.recovery.distil_loop import Distillation
from secateur.recovery.distil_samples import split
from secateur.recovery.flat_weights import FlatWeights
from secateur.recovery.original import Original
from secateur.recovery.output_loss import loss_for
from secateur.recovery.thinning import Thinning


def test_one_layer_learns_what_least_squares_gives():
    """Values of one layer: the optimum on the weights that are left is that of the normal equations."""
    torch.manual_seed(0)
    net = nn.Linear(6, 3, bias=False).double()
    x = torch.randn(640, 6, dtype=torch.float64) + torch.randn(640, 1, dtype=torch.float64)
    cut = copy.deepcopy(net)
    gone = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1]]).bool()
    cut.weight.data.masked_fill_(gone, 0)
    data = Samples(x, net(x).detach(), loss=nn.functional.mse_loss)
    made = sc.recover(net, cut, data=data, recovery=sc.Distil(steps=1500, lr=0.05, batch_size=560))
    fit = torch.cat([batch.inputs[0] for batch in split(calibration(x), False)[0]])
    for row in range(3):
        left = ~gone[row]
        exact = torch.linalg.lstsq(fit[:, left], net(fit)[:, row]).solution
        assert torch.allclose(made.weight[row, left], exact, atol=0.01)
        assert (made.weight[row, gone[row]] == 0).all()


def step_both(fast, slow, batch, gone):
    """A step of the vector and one of its slow twin, whose cut weights are zeroed; then both have the same weights."""
    (net, flat, quick), (twin, plain), (x, y) = fast, slow, batch
    (net(x) - y).square().mean().backward()
    flat.gather()
    quick.step()
    flat.write()
    plain.zero_grad()
    (twin(x) - y).square().mean().backward()
    plain.step()
    twin[0].weight.data.masked_fill_(gone, 0)
    for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("share", [0.25, 0.75], ids=["few are left", "most are left"])
def test_the_vector_takes_the_steps_that_adam_takes_of_masked_weights(share):
    """The slow twin: Adam over whole tensors, whose cut weights are zeroed after every step."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    gone = torch.rand(16, 8) > share
    net[0].weight.data.masked_fill_(gone, 0)
    twin, x, y = copy.deepcopy(net), torch.randn(32, 8), torch.randn(32, 4)
    flat = FlatWeights(net, ["0.weight"])
    fast, slow = torch.optim.Adam([flat.values], lr=0.01), torch.optim.Adam(twin.parameters(), lr=0.01)
    assert flat.values.numel() == int((~gone).sum()) + 16 + 64 + 4
    for _ in range(5):
        step_both((net, flat, fast), (twin, slow), (x, y), gone)
    assert all(p.grad is None for p in net.parameters())


def test_thinned_weights_learn_on_with_their_own_state():
    """The slow twin zeroes weights and their state in whole tensors."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    first, second = torch.rand(16, 8) > 0.6, torch.rand(16, 8) > 0.3
    net[0].weight.data.masked_fill_(first, 0)
    twin, x, y = copy.deepcopy(net), torch.randn(32, 8), torch.randn(32, 4)
    flat = FlatWeights(net, ["0.weight"])
    fast, slow = torch.optim.Adam([flat.values], lr=0.01), torch.optim.Adam(twin.parameters(), lr=0.01)
    gone = first
    for step in range(6):
        if step == 3:
            gone = first | second
            flat.thin({"0.weight": ~second}, fast)
            twin[0].weight.data.masked_fill_(gone, 0)
            for name in ("exp_avg", "exp_avg_sq"):
                slow.state[twin[0].weight][name].masked_fill_(gone, 0)
        step_both((net, flat, fast), (twin, slow), (x, y), gone)
    assert flat.values.numel() == int((~gone).sum()) + 16 + 64 + 4


@pytest.mark.parametrize(("granularity", "sides"), [("weight", (1, 1)), ("1x4", (1, 4)), ("3x2", (3, 2))])
def test_thinning_leaves_the_largest_of_each_layer_by_hand(granularity, sides):
    """Without any step between: the choice is that of the mean sizes of blocks, sorted."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))
    plan = sc.plan(net, 0.75, granularity=granularity)
    thinning = Thinning(net, plan, 100)
    b, c = sides
    sizes = net[0].weight.detach().abs().reshape(9 // b, b, 12 // c, c).mean((1, 3))
    counts = []
    for taken in range(101):
        if masks := thinning.masks(taken):
            keep = masks["0.weight"].reshape(9 // b, b, 12 // c, c)
            assert (keep == keep[:, :1, :, :1]).all()
            kept = keep[:, 0, :, 0]
            counts.append(int(kept.sum()))
            assert sizes[kept].min() >= (sizes[~kept].max() if (~kept).any() else 0)
    assert counts[0] == sizes.numel() and counts == sorted(counts, reverse=True) and len(counts) >= 20
    assert counts[-1] == sizes.numel() - round(0.75 * sizes.numel())
    assert thinning.is_done(60) and not thinning.is_done(59)


def one_part(values, **more):
    batch = Batch((values,), **more)
    return batch, loss_for([(batch, [values])])


def test_kinds_of_outputs():
    g = torch.Generator().manual_seed(0)
    scores, image = torch.randn(20, 5, generator=g), torch.randn(4, 3, 5, 5, generator=g)
    found = {name: one_part(values)[1].parts[0].kind for name, values in {
        "scores": scores, "soft": scores.softmax(1), "log": scores.log_softmax(1),
        "unit": nn.functional.normalize(scores), "column": scores[:, :1], "flat": scores[:, 0], "image": image,
        "tokens": torch.randn(4, 6, 5, generator=g)}.items()}
    assert found == {"scores": "scores", "soft": "probabilities", "log": "log-probabilities", "unit": "unit vectors",
                     "column": "values", "flat": "values", "image": "values", "tokens": "scores"}


def test_losses_by_hand():
    goal = torch.tensor([[1.0], [3.0], [5.0], [7.0]])  # the mean is 4, the variance (9 + 1 + 1 + 9) / 4 = 5
    batch, loss = one_part(goal)
    assert float(loss([goal + 1], [goal], batch)) == pytest.approx(1 / 5)
    for size in (1e-25, 1e25):  # whose squares are no numbers of float32
        batch, loss = one_part(size * goal)
        assert float(loss([size * (goal + 1)], [size * goal], batch)) == pytest.approx(1 / 5)
    units = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # about the mean (0, 0): variance 1
    batch, loss = one_part(units)
    assert float(loss([torch.tensor([[0.0, 3.0], [0.0, 3.0]])], [units], batch)) == pytest.approx(2.0)
    soft = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    batch, loss = one_part(soft)
    wanted = 0.5 * (0.25 * torch.tensor(0.5).log() + 0.75 * torch.tensor(1.5).log())  # KL of the second row, averaged
    assert float(loss([torch.tensor([[0.5, 0.5], [0.5, 0.5]])], [soft], batch)) == pytest.approx(float(wanted))
    scores = torch.tensor([[0.0, 2.0], [2.0, 0.0]])  # variance 2; the made ones have twice the divergence of one row
    batch, loss = one_part(scores)
    p = torch.tensor([0.0, 2.0]).softmax(0)
    divergence = (p * (p / torch.tensor([0.5, 0.5])).log()).sum()
    assert float(loss([torch.zeros(2, 2)], [scores], batch)) == pytest.approx(float(divergence) + 4 / 2, rel=1e-5)


def test_padding_and_outputs_that_do_not_vary_count_for_nothing():
    g = torch.Generator().manual_seed(0)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    goal, batch = torch.randn(2, 3, 4, generator=g), Batch((mask,), None, ("attention_mask",))
    loss = loss_for([(batch, [goal, torch.ones(2, 2)])])
    assert loss.parts[1] is None
    hidden = goal + 5 * (1 - mask)[:, :, None]
    assert float(loss([hidden, torch.zeros(2, 2)], [goal, torch.ones(2, 2)], batch)) == 0
    assert float(loss([goal + mask[:, :, None] * torch.arange(4.0), torch.ones(2, 2)], [goal, torch.ones(2, 2)],
                      batch)) > 0.1


def test_parts_of_a_step_add_up_to_the_whole(monkeypatch):
    """Where the memory for gradients is small a step is taken in parts: the same network, but for rounding."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).double(), torch.randn(256, 8).double()
    cut = sc.prune(net, 0.5)
    sizes = []
    cut[0].register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0])) if torch.is_grad_enabled() else None)
    whole = sc.recover(net, cut, data=x, recovery=sc.Distil(steps=6))
    assert max(sizes) == 128
    sizes.clear()
    monkeypatch.setattr("secateur.recovery.distil_loop.ROOM", 2000)
    parts = sc.recover(net, cut, data=x, recovery=sc.Distil(steps=6))
    assert max(sizes) < 30 and sum(sizes) >= 3 * 224
    assert torch.allclose(whole[0].weight, parts[0].weight, atol=1e-6)
    assert not torch.allclose(whole[0].weight, cut[0].weight, atol=1e-3)


def test_rounded_weights_learn_through_the_rounding():
    """A projection onto a grid: what comes out lies on it, keeps its zeros, and is nearer than the rounded start."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)), torch.randn(512, 8)
    cut, asked = sc.prune(net, 0.5), Original(net, calibration(x))
    fit, held = asked.parts
    step = 1 / 16

    def to_grid(name, values):
        return (values / step).round() * step if name.endswith("weight") else values
    zeros = cut[0].weight == 0
    training = Distillation(cut, fit.goals, held.goals, held.loss, 200, 64, 2e-3, ["0.weight"], project=to_grid)
    training.run()
    assert training.after < 0.8 * training.before
    for layer in (cut[0], cut[2]):
        on_grid = layer.weight / step
        assert torch.equal(on_grid, on_grid.round())
    assert (cut[0].weight[zeros] == 0).all()
