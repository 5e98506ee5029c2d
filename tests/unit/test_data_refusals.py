"""What user's data, criteria and recoveries can get wrong, each refused in one line; layouts stay as they are."""

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.recovery.methods.finetune import Finetune

X, Y = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 4


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, first, second):
        return self.fc(first + second)


@pytest.mark.parametrize("data", [X.double(), X.half(), X.long(), X[:, :5]], ids=["float64", "half", "int", "width"])
@pytest.mark.parametrize("recovery", ["best", "reconstruct", Finetune(epochs=1, distil=1.0)])
def test_data_that_the_network_does_not_take(data, recovery):
    kind = str(data.dtype).removeprefix("torch.")
    with pytest.raises(sc.SecateurError, match=rf"the network does not run on a batch of \(64, \d\) {kind}: Runtime"):
        sc.prune(net(), 0.5, data=data, recovery=recovery, skip=())


@pytest.mark.parametrize("labels", [Y + 1, Y.float(), Y[:, None].float().expand(-1, 3)], ids=["range", "float", "wide"])
@pytest.mark.parametrize("how", [{"recovery": Finetune(epochs=1)}, {"recovery": "gradual"}, {"criterion": "snip"}])
def test_labels_that_the_loss_does_not_take(labels, how):
    with pytest.raises(sc.SecateurError, match=r"loss of outputs \(\d+, 4\) float32 and labels .*; the cross-entro"):
        sc.prune(net(), 0.5, data=(X, labels), skip=(), **how)


@pytest.mark.parametrize("data", [(X, X), [(X, X)]])
def test_two_inputs_given_as_a_pair(data):
    with pytest.raises(sc.SecateurError, match=r"missing 1 required.*several inputs are a tuple, \(\(first, second\)"):
        sc.prune(Two(), 0.5, data=data, skip=())
    assert isinstance(sc.prune(Two(), 0.5, data=[((X, X), None)], skip=()), Two)


@pytest.mark.parametrize("how", [{"granularity": "neuron"}, {"recovery": "reconstruct"}, {"recovery": "sparsegpt"}, {}])
def test_data_whose_squares_overflow(how):
    torch.manual_seed(1)
    wide = nn.Sequential(nn.Linear(300, 16), nn.ReLU(), nn.Linear(16, 4))
    with pytest.raises(sc.SecateurError, match="the squared inputs or outputs of layer '[02]' overflow"):
        sc.prune(wide, 0.5, data=torch.full((64, 300), 3e38), skip=(), **how)


@pytest.mark.parametrize("choice", [3, print, ["best", 3], None.__class__])
def test_what_is_no_recovery(choice):
    with pytest.raises(sc.SecateurError, match="allowed are a name, a Recovery, or a list of these"):
        sc.prune(net(), 0.5, data=X, recovery=choice, skip=())


def raising(weight, signals):
    raise KeyError("scale")


@pytest.mark.parametrize("criterion", [raising, lambda weight: weight])
def test_a_criterion_that_fails_is_named_with_its_layer(criterion):
    with pytest.raises(sc.SecateurError, match=r"criterion '\S+' failed on '0.weight': (KeyError|TypeError): "):
        sc.plan(net(), 0.5, criterion=criterion, skip=())


@pytest.mark.parametrize("recovery", ["none", "best", "finetune", "gradual"])
@pytest.mark.parametrize("granularity", ["weight", "neuron", "4x1"])
def test_channels_last_stays(recovery, granularity):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 4))
    made, x = made.to(memory_format=torch.channels_last), torch.randn(64, 4, 6, 6)
    if (granularity, recovery) == ("neuron", "gradual"):
        return
    cut = sc.prune(made, 0.5, granularity=granularity, criterion="l2" if granularity == "neuron" else None,
                   data=(x, Y), recovery=recovery, skip=())
    for name in ("0", "2"):
        weight = cut.get_submodule(name).weight
        assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
