"""Code that takes another path in a trace than in a call: a cut graph would compute what the network never does."""

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork

ASKED = {"gradients": torch.is_grad_enabled, "a compiler": torch.compiler.is_compiling,
         "an exporter": torch.compiler.is_exporting}


class Asking(nn.Module):
    """One layer where the answer is yes, another where it is no."""

    def __init__(self, ask):
        super().__init__()
        self.yes, self.no, self.out, self.ask = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 4), ask

    def forward(self, x):
        return self.out(torch.relu(self.yes(x) if self.ask() else self.no(x)))


class SameEitherWay(Asking):
    """The answer decides how a size is written, not what is computed."""

    def forward(self, x):
        hidden = torch.relu(self.yes(x))
        return self.out(hidden.view(-1, 16) if self.ask() else hidden)


@pytest.mark.parametrize("asked", ASKED)
def test_a_path_that_only_the_trace_takes_is_refused(asked):
    torch.manual_seed(0)
    net, x = Asking(ASKED[asked]).eval(), torch.randn(3, 8)
    with pytest.raises(sc.SecateurError, match="its code and its trace give different outputs") as caught:
        sc.prune(net, 0.5, granularity="neuron", example=x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", ASKED)
def test_a_path_of_the_trace_that_gives_the_same_is_cut(asked):
    torch.manual_seed(0)
    net, x = SameEitherWay(ASKED[asked]).eval(), torch.randn(3, 8)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small, keep = sc.apply(net, plan), plan.cuts[0].keep
    assert not isinstance(small, ExportedNetwork)
    y = torch.randn(5, 8)
    with torch.no_grad():
        assert torch.allclose(small(y), net.out(torch.relu(net.yes(y)) * keep), atol=1e-6)
