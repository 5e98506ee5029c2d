"""What torch.export gives is refused in one line by every verb that would cut or trace it; its way in is named."""

import pytest
import torch
from torch import nn

import secateur as sc
from secateur import models

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12)).eval()


def program():
    return torch.export.export(network(), (X,), dynamic_shapes=({0: torch.export.Dim.AUTO},))


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.inner(x))


FORMS = {
    "module": (lambda: program().module(), "the network is a graph"),
    "module without guards": (lambda: program().module(check_guards=False), "the network is a graph"),
    "inside another": (lambda: Around(program().module()), "module 'inner' is a graph"),
    "unflattened": (lambda: torch.export.unflatten(program()), "the network is a graph"),
    "program": (program, "got an ExportedProgram"),
}
CALLS = {
    "prune": lambda net, _: sc.prune(net, 0.5),
    "prune neurons": lambda net, _: sc.prune(net, 0.5, granularity="neuron", example=X),
    "prune with data": lambda net, _: sc.prune(net, 0.5, data=X),
    "plan": lambda net, _: sc.plan(net, 0.5, example=X),
    "compare": lambda net, _: sc.compare(net, net, X, batches=()),
    "save": lambda net, folder: sc.save(net, folder / "net.safetensors", example=X),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_it_is_refused(form, call, tmp_path):
    make, said = FORMS[form]
    if (form, call) == ("program", "save"):
        said = "got a ExportedProgram"
    with pytest.raises(sc.SecateurError, match=said) as caught:
        CALLS[call](make(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_way_that_the_message_names_gives_a_network_that_can_be_cut(tmp_path):
    torch.export.save(program(), tmp_path / "net.pt2")
    net = models.network(str(tmp_path / "net.pt2"), trusted=True)
    plan = sc.plan(net, 0.5, granularity="neuron", example=X)
    small, whole = sc.apply(net, plan), network()
    with torch.no_grad():
        want = whole[2](torch.relu(whole[0](X)) * plan.cuts[0].keep)
        assert torch.allclose(small(X), want, atol=1e-6)
        assert torch.allclose(small(X[:3]), want[:3], atol=1e-6)


def test_a_graph_of_torch_fx_is_cut():
    """It has layers and modes."""
    net = torch.fx.symbolic_trace(network())
    assert int((sc.prune(net, 0.5, skip=()).get_submodule("0").weight == 0).sum()) == 64
