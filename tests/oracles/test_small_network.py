"""A 2-3-2 network worked out on paper.

    W1 = [[1, -2], [0.5, 3], [-4, 0.1]]      W2 = [[1, 2, 3], [4, 5, 6]]

Half of the six weights of W1: 0.1, 0.5 and 1 go. A third of the three neurons: the row norms are
2.236, 3.041 and 4.001, so the first goes, with the first column of W2.
"""

import pytest
import torch
from torch import nn

import secateur as sc

X = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])


@pytest.fixture
def net():
    layers = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[1, -2], [0.5, 3], [-4, 0.1]]))
        layers[2].weight.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    return layers


def test_the_whole_network(net):
    torch.testing.assert_close(net(X), torch.tensor([[3.0, 12.0], [17.3, 37.1]]))


def test_half_of_the_weights(net):
    pruned = sc.prune(net, 0.5, skip=["2"])
    assert pruned[0].weight.tolist() == [[0, -2], [0, 3], [-4, 0]]
    torch.testing.assert_close(pruned(X), torch.tensor([[2.0, 8.0], [18.0, 39.0]]))
    assert net[0].weight[0, 0] == 1


def test_a_third_of_the_neurons(net):
    plan = sc.plan(net, 1 / 3, granularity="neuron", example=X)
    small = sc.apply(net, plan)
    assert plan.layers() == [{"name": "0", "items": 3, "removed": 1, "sparsity": 1 / 3}]
    assert (small[0].out_features, small[2].in_features) == (2, 2)
    torch.testing.assert_close(small[0].weight, torch.tensor([[0.5, 3], [-4, 0.1]]))
    assert small[2].weight.tolist() == [[2, 3], [5, 6]]
    torch.testing.assert_close(small(X), torch.tensor([[0.0, 0.0], [17.3, 37.1]]))


def test_ties_go_to_the_lower_index(net):
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    assert sc.prune(net, 0.5, skip=["2"])[0].weight.tolist() == [[0, 0], [0, 1], [1, 1]]


def test_global_scope_lets_layers_compete(net):
    plan = sc.plan(net, 0.5, scope="global", skip=())
    assert [layer["removed"] for layer in plan.layers()] == [4, 2]
    assert plan.reached == 0.5


def test_nothing_is_removed_at_zero(net):
    plan = sc.plan(net, 0.0, scope="global", skip=())
    assert plan.removed == 0
    assert torch.equal(sc.apply(net, plan)[0].weight, net[0].weight)
