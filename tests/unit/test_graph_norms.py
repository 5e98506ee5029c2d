"""Norms of weights: after a cut they are those of the whole weight, as when the units are zero, or the units stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import secateur as sc
from secateur.graph import targets


class Behind(nn.Module):
    """A plain layer and a normed one that reads it."""

    def __init__(self, norm: Callable[[nn.Module], nn.Module]):
        super().__init__()
        self.a, self.b = nn.Linear(8, 12), norm(nn.Linear(12, 10))
        self.c = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Two hidden layers."""
        return self.c(F.relu(self.b(F.relu(self.a(x)))))  # type: ignore[no-any-return]


class Own(Behind):
    """A weight that the code norms by itself."""

    def __init__(self, how: Callable[[Tensor], Tensor]):
        super().__init__(lambda m: m)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        """As before."""
        return self.c(F.relu(F.linear(F.relu(self.a(x)), self.how(self.b.weight))))  # type: ignore[no-any-return]


def dead(net: Behind) -> Behind:
    """Half of the first layer's units always give zero."""
    net.a.weight.data[6:], net.a.bias.data[6:] = 0, 0
    return net.eval()


@pytest.mark.parametrize("prove", [True, False])
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.weight_norm, parametrizations.spectral_norm,
                                  nn.utils.spectral_norm, lambda m: nn.utils.weight_norm(m, dim=1),
                                  lambda m: parametrizations.weight_norm(m, dim=None)])
def test_removing_dead_units_changes_nothing(norm: Callable[[nn.Module], nn.Module], prove: bool) -> None:
    """Half of the units give zero: without them the outputs are the same."""
    torch.manual_seed(0)
    net, x = dead(Behind(norm)), torch.rand(4, 8)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x, skip=["b"], criterion="l2")
    small = sc.apply(net, plan, prove=prove).eval()
    assert small.get_submodule("a").weight.shape == (6, 8)
    assert torch.allclose(small(x), net(x), atol=1e-6)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_units_that_a_normed_layer_makes(norm: Callable[[nn.Module], nn.Module]) -> None:
    """Zeroing what the layer behind reads is removing the units, though the norm is over all of them."""
    torch.manual_seed(0)
    net, x = Behind(norm).eval(), torch.rand(4, 8)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan).eval()
    keep = {cut.name: cut.keep for cut in plan.cuts}
    with torch.no_grad():
        hidden = F.relu(net.b(F.relu(net.a(x)) * keep["a"])) * keep["b"]
        assert torch.allclose(small(x), net.c(hidden), atol=1e-6)


@pytest.mark.parametrize("how", [lambda w: F.normalize(w, dim=1), lambda w: w / w.pow(2).sum(1, keepdim=True).sqrt(),
                                 lambda w: w - w.mean(1, keepdim=True),
                                 lambda w: F.batch_norm(w[None], None, None, training=True)[0]])
def test_other_norms_of_a_weight_are_refused(how: Callable[[Tensor], Tensor]) -> None:
    """The axis that they go over stays, and the reason is told; the other axis of the weight can be cut."""
    net, x = Own(how).eval(), torch.rand(4, 8)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    assert [cut.name for cut in plan.cuts] == ["b"]
    assert plan.structure is not None
    assert "a norm of the weight is taken over it at" in next(g.reason for g in plan.structure.groups if g.name == "a")
    small = sc.apply(net, plan).eval()
    with torch.no_grad():
        hidden = F.relu(F.linear(F.relu(net.a(x)), how(net.b.weight))) * plan.cuts[0].keep
        assert torch.allclose(small(x), net.c(hidden), atol=1e-6)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_units_are_scored_by_the_weight_that_the_layer_computes_with(norm: Callable[[nn.Module], nn.Module]) -> None:
    """Units of length zero go, whatever direction is stored for them."""
    torch.manual_seed(0)
    net, x = Behind(norm).eval(), torch.rand(4, 8)
    length = next(p for n, p in net.named_parameters() if n.endswith(("original0", "weight_g")))
    length.data[5:], net.b.bias.data[5:] = 0, 0
    plan = sc.plan(net, 0.5, granularity="neuron", example=x, skip=["a"], criterion="l2")
    assert plan.cuts[0].keep.tolist() == [True] * 5 + [False] * 5
    assert torch.allclose(sc.apply(net, plan).eval()(x), net(x), atol=1e-6)


def test_every_layer_whose_weight_is_computed_anew_is_a_target():
    net = nn.Sequential(*(parametrizations.weight_norm(nn.Linear(4, 4)) for _ in range(6)))
    assert [t.name for t in targets(net)] == [f"{i}.weight" for i in range(6)]
