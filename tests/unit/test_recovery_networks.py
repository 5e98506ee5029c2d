"""The default recovery on networks of many families: nearer to the original than the plain cut, or a reason."""

import pytest
import torch
from networks import NETWORKS

import secateur as sc
from secateur.graph import inputs as inputs_of

NAMES = ["residual", "dense-block", "depthwise", "squeeze-excite", "lstm", "reused-module", "unet", "one-dimension",
         "batch-norms", "grouped", "torch-encoder"]


def made(name):
    torch.manual_seed(0)
    net, example = NETWORKS[name]()
    return net.eval(), example, torch.randn(192, *inputs_of(example)[0][0].shape[1:])


def error(net, cut, inputs):
    with torch.no_grad():
        return float((cut.eval()(inputs) - net(inputs)).square().mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_the_outputs_come_nearer(name, granularity):
    net, example, data = made(name)
    criterion = "l2" if granularity == "neuron" else "magnitude"
    plain, better = (sc.prune(net, 0.5, granularity, criterion, example=example, data=data, recovery=r)
                     for r in ("none", None))
    assert error(net, better, data) <= error(net, plain, data)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_a_weight_that_a_parametrization_makes_is_refused_or_left(granularity):
    net, example, data = made("weight-norm")
    if granularity == "neuron":
        small = sc.prune(net, 0.5, "neuron", "l2", example=example, data=data)
        assert torch.isfinite(small(example)).all()
    with pytest.raises(sc.SecateurError):
        sc.plan(net, 0.5, "neuron", "elimination", example=example, data=data)


def test_units_that_no_layer_reads_are_refused_by_name():
    net, example, data = made("lstm")
    with pytest.raises(sc.SecateurError, match="group 'embed': no linear or convolutional layer reads its units"):
        sc.plan(net, 0.5, "neuron", "elimination", example=example, data=data)
