"""Criteria against answers worked out by hand or by an independent slow way."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur import graph
from secateur.data.calibration import calibration
from secateur.pruning.criteria.elimination import costs
from secateur.pruning.granularity.base import Unit
from secateur.pruning.signals import SignalCollector
from secateur.pruning.signals.unfold import rows_in, rows_out

FLAT = nn.CrossEntropyLoss()


def signals(model, needs, name, data):
    return SignalCollector(model, needs, [name], calibration(data)).of("weight", name)


def linear(weight):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def mean_square(outputs, labels):
    return (outputs - labels).square().mean()


def test_input_norm_and_gram_of_a_linear_layer():
    x = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    found = signals(nn.Sequential(linear(torch.ones(1, 2))), {"input_norm", "input_gram"}, "0.weight", x)
    assert torch.allclose(found.input_norm, torch.tensor([[12.5**0.5, 2**0.5]]))
    assert found.input_gram.tolist() == [[[12.5, 4.0], [4.0, 2.0]]]


@pytest.mark.parametrize("groups", [1, 2])
def test_gram_of_a_convolution_is_that_of_its_unfolded_inputs(groups):
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups)
    x = torch.randn(5, 4, 7, 7)
    gram = signals(nn.Sequential(conv), {"input_gram"}, "0.weight", x).input_gram
    columns = nn.functional.unfold(x, 3, padding=1, stride=2).double()
    for g, part in enumerate(columns.chunk(groups, 1)):
        rows = part.transpose(1, 2).flatten(0, 1)
        assert torch.allclose(gram[g], rows.T @ rows / len(rows), atol=1e-5)


@pytest.mark.parametrize("conv", [nn.Conv1d(2, 3, 2), nn.Conv3d(2, 3, 2), nn.Conv2d(2, 3, 2, dilation=2),
                                  nn.Conv2d(2, 4, (3, 1), groups=2, padding="same"),
                                  nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")])
def test_windows_times_weights_are_the_outputs(conv):
    x = torch.randn(2, 2, *[6] * (conv.weight.ndim - 2))
    rows = rows_in(conv, x)
    parts = [r @ w.flatten(1).T for r, w in zip(rows, conv.weight.chunk(conv.groups), strict=True)]
    assert torch.allclose(torch.cat(parts, 1) + conv.bias, rows_out(conv, conv(x)), atol=1e-5)


@pytest.mark.parametrize("made", [
    nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv1d(4, 6, 2, padding=3),
    nn.Conv2d(4, 6, (1, 3), padding="same", groups=2), nn.Conv3d(4, 4, 2, padding="valid"),
    nn.Conv2d(4, 6, 3, padding=2, padding_mode="circular"),
    nn.Conv2d(4, 6, 3, padding="same", padding_mode="replicate")])
@pytest.mark.parametrize("after", [
    {"padding": 2, "dilation": 2}, {"padding": "same", "dilation": 2, "stride": 1}, {"padding": "valid"},
    {"padding": [1]}, {"stride": [1], "dilation": 3, "padding": 3}, {"padding_mode": "reflect"},
    {"padding": 0}, {"padding_mode": "zeros"},
    {"padding": 1, "padding_mode": "replicate", "dilation": 2}, {"stride": 3, "padding": 0, "dilation": 1}])
def test_windows_follow_attributes_that_were_set_later(made, after):
    conv = copy.deepcopy(made).double()
    vars(conv).update(after)
    x = torch.randn(2, 4, *[9] * (conv.weight.ndim - 2)).double()
    rows = rows_in(conv, x)
    parts = [r @ w.flatten(1).T for r, w in zip(rows, conv.weight.chunk(conv.groups), strict=True)]
    assert torch.allclose(torch.cat(parts, 1) + conv.bias, rows_out(conv, conv(x)), atol=1e-12)


def test_gradient_by_hand():
    """The loss (w x - y)**2 has the gradient 2 (w x - y) x; at w = (1, 2), x = (1, 1), y = 0 that is (6, 6)."""
    net = nn.Sequential(linear(torch.tensor([[1.0, 2.0]])))
    data = sc.Samples(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0]]), loss=mean_square)
    found = signals(net, {"gradient", "hessian_gradient"}, "0.weight", data)
    assert found.gradient.tolist() == [[6.0, 6.0]]
    assert found.hessian_gradient.tolist() == [[24.0, 24.0]]


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
    nn.Sequential(nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Conv2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(24, 3))])
def test_squared_gradient_is_that_of_the_samples_one_by_one(net):
    x = torch.randn(7, 5) if isinstance(net[0], nn.Linear) else torch.randn(7, 1, 4, 4)
    y = torch.randint(3, (7,))
    names = [n for n, _ in net.named_parameters() if n.endswith("weight")]
    gather = SignalCollector(net, {"squared_gradient"}, names, calibration([(x[:4], y[:4]), (x[4:], y[4:])]))
    for name in names:
        total = 0
        for i in range(7):
            net.zero_grad()
            FLAT(net(x[i:i + 1]), y[i:i + 1]).backward()
            total = total + net.get_parameter(name).grad.square()
        assert torch.allclose(gather.of("weight", name).squared_gradient, total / 7, atol=1e-6)


def test_synflow_by_hand():
    """Two layers of one path each: the flow through a weight is the product of the others' sizes on its paths."""
    net = nn.Sequential(linear(torch.tensor([[1.0, -2.0], [3.0, 0.0]])), nn.ReLU(), linear(torch.tensor([[-5.0, 1.0]])))
    plan = sc.plan(net, 0.5, criterion="synflow", scope="global", example=torch.zeros(1, 2), skip=())
    assert plan.cuts[0].keep.tolist() == [[True, True], [False, False]]
    assert plan.cuts[1].keep.tolist() == [[True, False]]


def test_wanda_and_magnitude_part_where_inputs_differ():
    net = nn.Sequential(linear(torch.tensor([[1.0, 2.0]])))
    x = torch.tensor([[10.0, 1.0]])
    assert sc.plan(net, 0.5, criterion="magnitude", skip=()).cuts[0].keep.tolist() == [[False, True]]
    assert sc.plan(net, 0.5, criterion="wanda", data=x, skip=()).cuts[0].keep.tolist() == [[True, False]]


def two_layers():
    """Unit 1 is a copy of unit 0, unit 2 is alone and weaker, unit 3 never fires."""
    first = linear(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.5], [-1.0, -1.0]]))
    return nn.Sequential(first, nn.ReLU(), linear(torch.tensor([[1.0, 1.0, 1.0, 1.0]])))


@pytest.mark.parametrize(("criterion", "kept"), [
    ("energy", [True, True, False, False]), ("cholesky", [True, False, True, False]),
    ("elimination", [False, True, True, False]), ("apoz", [True, True, False, False]), ("leverage", None)])
def test_neurons_by_hand(criterion, kept):
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    plan = sc.plan(two_layers(), 0.5, granularity="neuron", criterion=criterion, data=x)
    keep = plan.cuts[0].keep.tolist()
    assert keep == kept if kept else keep[3] is False and keep[2] is True


def test_activations_of_channels_that_are_flattened_are_those_of_their_places():
    conv = nn.Conv2d(1, 2, 1, bias=False)
    conv.weight.data = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
    net = nn.Sequential(conv, nn.Flatten(), nn.Linear(8, 3))
    x = torch.arange(4.0).view(1, 1, 2, 2)
    group = next(g for g in graph.trace(net, x).groups if g.cuttable)
    found = SignalCollector(net, {"unit_gram", "unit_mean", "unit_zeros"}, [], calibration(x)).of(
        "neuron", "0.weight", Unit(group, group.members[0]))
    assert found.unit_gram.tolist() == [[3.5, -7.0], [-7.0, 14.0]]
    assert found.unit_mean.tolist() == [1.5, -3.0]
    assert found.unit_zeros.tolist() == [0.25, 0.25]


def test_batch_norm_scale_is_read_and_refused_without_one():
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    net[1].weight.data = torch.tensor([-3.0, 0.5, 2.0])
    example = torch.randn(2, 1, 2, 2)
    assert sc.plan(net, 0.34, granularity="neuron", criterion="bn-scale",
                   example=example).cuts[0].keep.tolist() == [True, False, True]
    with pytest.raises(sc.SecateurError, match="no batch norm"):
        sc.plan(two_layers(), 0.5, granularity="neuron", criterion="bn-scale", example=torch.rand(1, 2))


def test_elimination_is_greedy_exact_least_squares():
    """Each step takes the unit whose going costs least, every time refitted anew from scratch in float64."""
    draw = torch.Generator().manual_seed(3)
    acts, out = torch.randn(200, 6, generator=draw).double(), torch.randn(6, 4, generator=draw).double()
    gram = acts.T @ acts / 200
    order = costs(gram, out).argsort().tolist()
    level = 0.01 * gram.diagonal().mean()
    wide = torch.cat([acts / 200**0.5, level.sqrt() * torch.eye(6).double()])
    left, slow = list(range(6)), []
    while len(left) > 1:
        def cost(gone):
            rest = [u for u in left if u != gone]
            return float((wide[:, rest] @ torch.linalg.lstsq(wide[:, rest], wide @ out).solution - wide @ out
                          ).square().sum())
        slow.append(min(left, key=cost))
        left.remove(slow[-1])
    assert order == [*slow, *left]


def test_data_that_is_missing_is_named_and_nothing_takes_its_place():
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(sc.SecateurError, match=r"criterion 'obs' needs calibration inputs: pass data=$"):
        sc.plan(net, 0.5, criterion="obs", skip=())
    with pytest.raises(sc.SecateurError, match="criterion 'taylor' needs labelled inputs: pass data="):
        sc.plan(net, 0.5, criterion="taylor", data=torch.rand(4, 3), skip=())


def test_transposed_convolutions_are_refused_by_name():
    net = nn.Sequential(nn.ConvTranspose2d(1, 2, 2))
    with pytest.raises(sc.SecateurError, match="layer '0' is a ConvTranspose2d"):
        sc.plan(net, 0.5, criterion="wanda", data=torch.rand(2, 1, 3, 3), skip=())


def own(weight, signals):
    return weight.abs() * signals.input_norm


own.needs = {"input_norm"}


def test_a_function_with_its_needs_is_a_criterion():
    net, x = nn.Sequential(nn.Linear(6, 5)), torch.rand(32, 6)
    mine, wanda = (sc.plan(net, 0.5, criterion=c, data=x, skip=()) for c in (own, "wanda"))
    assert torch.equal(mine.cuts[0].keep, wanda.cuts[0].keep)
    with pytest.raises(sc.SecateurError, match="needs calibration inputs"):
        sc.plan(net, 0.5, criterion=own, skip=())
    with pytest.raises(sc.SecateurError, match=r"returned \(5,\)"):
        sc.plan(net, 0.5, criterion=lambda weight, signals: weight.sum(1), skip=())


@pytest.mark.parametrize("data", [[], torch.zeros(0, 3), "text", (torch.zeros(2, 3), torch.zeros(3)), [1]])
def test_data_that_is_none_is_refused(data):
    with pytest.raises(sc.SecateurError, match="data"):
        sc.plan(nn.Sequential(nn.Linear(3, 2)), 0.5, criterion="wanda", data=data, skip=())


def test_a_generator_is_gone_through_as_often_as_needed():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(8, 3)
    small = [sc.prune(net, 0.5, criterion="obs", data=d, recovery="reconstruct", skip=())
             for d in (x, (p for p in x.split(4)))]
    assert torch.allclose(small[0][2].weight, small[1][2].weight, atol=1e-5)


@pytest.mark.parametrize("granularity", ["weight", "2x2"])
def test_whole_numbers_are_scores(granularity):
    net = nn.Linear(4, 4)
    scores = torch.arange(16).view(4, 4)
    assert torch.equal(sc.plan(net, 0.5, granularity=granularity, criterion=lambda weight, signals: scores,
                               skip=()).cuts[0].keep,
                       sc.plan(net, 0.5, granularity=granularity, criterion=lambda weight, signals: scores.double(),
                               skip=()).cuts[0].keep)
