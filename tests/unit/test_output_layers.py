"""The output layer stays by default, is found where that can be known, and never assumed in silence."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core.errors import OutputLayerWarning

X = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))


class Stream(nn.Module):
    """Its output is the sum of two layers, of which neither makes it alone."""

    def __init__(self):
        super().__init__()
        self.embed, self.up, self.down = nn.Linear(8, 6), nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        x = self.embed(x)
        return x + self.down(torch.relu(self.up(x)))


class Heads(nn.Module):
    """Two outputs, each made by a layer of its own."""

    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(8, 12), nn.Linear(12, 3), nn.Linear(12, 2)

    def forward(self, x):
        x = torch.relu(self.body(x))
        return self.one(x), self.two(x)


class Picture(nn.Module):
    """The channels of its output are made by the last convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Sized(nn.Module):
    """What ``torch.export`` refuses: a path that depends on values."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(self.one(x) if x.sum().item() > 0 else x)


def cut(model, **settings):
    return [c.name.removesuffix(".weight") for c in sc.plan(model, 0.5, **settings).cuts]


def test_of_a_sequential_the_last_layer_stays():
    assert cut(mlp()) == ["0", "2"]
    assert cut(nn.Sequential(*mlp(), nn.Softmax(-1), nn.Dropout())) == ["0", "2"]
    assert cut(nn.Sequential(nn.Sequential(*mlp()[:2]), nn.Sequential(*mlp()[2:], nn.LayerNorm(3)))) == ["0.0", "1.0"]


@pytest.mark.parametrize("settings", [{"example": X}, {"data": X}, {"data": X.numpy()}])
@pytest.mark.parametrize(("model", "left"), [(mlp, ["0", "2"]), (Heads, ["body"])])
def test_with_an_input_it_is_read_from_the_graph(model, left, settings):
    assert cut(model(), **settings) == left


def test_the_channels_of_a_picture_count_as_its_last_axis():
    assert cut(Picture(), example=torch.rand(1, 2, 6, 6)) == ["first"]


def test_a_stream_has_no_output_layer_and_the_notes_say_so():
    plan = sc.plan(Stream(), 0.5, example=X)
    assert [c.name for c in plan.cuts] == ["embed.weight", "up.weight", "down.weight"]
    assert any("the sum of the outputs of embed, down: none of them counts as" in note for note in plan.notes)


def test_skip_stands_beside_it_and_only_an_empty_tuple_gives_it_up():
    assert cut(mlp(), skip=["0"]) == ["2"]
    assert cut(mlp(), skip=[]) == ["0", "2"]
    assert cut(mlp(), skip=()) == ["0", "2", "4"]
    plan = sc.plan(mlp(), 0.5, layers={"4": 0.3})
    assert [c.name for c in plan.cuts] == ["0.weight", "2.weight"]
    assert any("4: stays whole, because it makes an output" in note for note in plan.notes)


def test_skip_takes_modules():
    net = mlp()
    assert cut(net, skip=[net[2]]) == ["0"]
    assert cut(net, skip=[net[2], "4"]) == ["0"]
    with pytest.raises(sc.SecateurError, match="Linear is not a module of this network"):
        sc.plan(net, 0.5, skip=[nn.Linear(1, 1)])
    with pytest.raises(sc.SecateurError, match="skip names 2 twice"):
        sc.plan(net, 0.5, skip=[net[2], "2"])


class Tied(nn.Module):
    """Its head has the weight of its embedding."""

    def __init__(self, first):
        super().__init__()
        self.body = nn.Linear(8, 8)
        modules = {"words": nn.Embedding(5, 8), "head": nn.Linear(8, 5, bias=False)}
        for name in (first, *(name for name in modules if name != first)):
            self.add_module(name, modules[name])
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(torch.relu(self.body(self.words(x))))


class Best(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x).argmax(-1)


class Around(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize("first", ["words", "head"])
@pytest.mark.parametrize("skip", [None, ["words"], ["head"]])
def test_a_head_tied_to_an_embedding_stays_under_either_name(first, skip):
    assert cut(Tied(first), example=torch.tensor([[1, 2]]), skip=skip) == ["body"]


def test_an_output_that_no_layer_makes_is_told():
    assert any("no layer makes the last axis of an output" in note for note in sc.plan(Best(), 0.5, example=X).notes)


def test_arrays_are_examples_too():
    assert cut(Heads(), example=X.numpy()) == ["body"]


@pytest.mark.parametrize(("model", "settings", "why"), [
    (Heads, {}, "Heads was given without example= and data="), (Sized, {"example": X}, "the network cannot be traced"),
    (lambda: nn.Sequential(nn.Linear(8, 8), Heads()), {}, "Sequential was given without"),
    (lambda: nn.Sequential(nn.Linear(8, 8), Around(nn.Linear(8, 8))), {}, "Sequential was given without"),
    (lambda: Around(nn.Linear(8, 8)), {}, "Around was given without")])
def test_what_is_not_known_is_said_once_at_the_caller_s_line(model, settings, why):
    net = model()
    with pytest.warns(OutputLayerWarning, match=why) as caught:
        found = cut(net, **settings)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "skip=['name'] keeps a layer whole" in str(caught[0].message)
    assert len(found) == len([m for m in net.modules() if isinstance(m, nn.Linear)])


def test_nothing_is_said_where_it_is_known_or_given_up():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut(mlp())
        cut(Heads(), skip=())
        sc.prune(Heads(), 0.5, example=X)


@pytest.mark.parametrize("verb", ["prune", "pruner"])
def test_prune_and_a_pruner_leave_it_too(verb):
    net = mlp()
    made = sc.prune(net, 0.5) if verb == "prune" else sc.Pruner(net, 0.5).model
    assert [int((made[i].weight == 0).sum()) for i in (0, 2, 4)] == [48, 36, 0]


def test_a_network_of_its_output_layer_alone_says_what_stays():
    with pytest.raises(sc.SecateurError, match=r"nothing to cut: .* \(0 makes the output and stays whole: skip=\(\) "
                                               r"prunes it"):
        sc.plan(nn.Sequential(nn.Linear(8, 3)), 0.5)


class OwnWeight(nn.Module):
    """The network itself holds the weight that makes its output."""

    def __init__(self):
        super().__init__()
        self.body, self.weight = nn.Linear(8, 12), nn.Parameter(torch.randn(12, 3))

    def forward(self, x):
        return torch.relu(self.body(x)) @ self.weight


def test_a_weight_of_the_network_itself_that_makes_the_output():
    torch.manual_seed(0)
    net = OwnWeight()
    for kw in ({"example": X}, {"data": X, "recovery": "none"}):
        small = sc.prune(net, 0.5, **kw)
        assert int((small.body.weight == 0).sum()) == 48
        assert torch.equal(small.weight, net.weight)


def test_a_network_that_is_one_layer_says_that_it_makes_the_output():
    with pytest.raises(sc.SecateurError, match=r"the network itself makes the output and stays whole: skip=\(\) "
                                               r"prunes it too"):
        sc.prune(nn.Linear(8, 4), 0.5, example=X)
    assert int((sc.prune(nn.Linear(8, 4), 0.5, example=X, skip=()).weight == 0).sum()) == 16


def test_the_name_of_an_output_layer_is_no_expression():
    """As an expression "h.o" would be "hoo" as well."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("hoo", nn.Linear(8, 12))
    net.add_module("h", nn.ModuleDict({"o": nn.Linear(12, 3)}))
    net.h.forward = lambda x: net.h["o"](torch.relu(x))
    small = sc.prune(net, 0.5, example=X)
    assert int((small.hoo.weight == 0).sum()) == 48
