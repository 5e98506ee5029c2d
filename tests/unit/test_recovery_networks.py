"""The default recovery on networks of many families: nearer to the original than the plain cut, or a reason."""

import pytest
import torch
from networks import NETWORKS
from support import diagonal
from torch import nn

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


@pytest.mark.parametrize(("granularity", "name"), diagonal(["weight", "neuron"], NAMES))
def test_the_outputs_come_nearer(name, granularity):
    net, example, data = made(name)
    criterion = "l2" if granularity == "neuron" else "magnitude"
    plain, better = (sc.prune(net, 0.5, granularity=granularity, criterion=criterion, example=example, data=data,
                              recovery=r, skip=())
                     for r in ("none", None))
    assert error(net, better, data) <= error(net, plain, data)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_a_weight_that_a_parametrization_makes_is_refused_or_left(granularity):
    net, example, data = made("weight-norm")
    if granularity == "neuron":
        small = sc.prune(net, 0.5, granularity="neuron", criterion="l2", example=example, data=data)
        assert torch.isfinite(small(example)).all()
    with pytest.raises(sc.SecateurError):
        sc.plan(net, 0.5, granularity="neuron", criterion="elimination", example=example, data=data)


def test_units_that_no_layer_reads_are_refused_by_name():
    net, example, data = made("lstm")
    with pytest.raises(sc.SecateurError, match="group 'embed': no linear or convolutional layer reads its units"):
        sc.plan(net, 0.5, granularity="neuron", criterion="elimination", example=example, data=data)


def test_an_encoder_layer_is_refused_by_what_sees_inputs_and_cut_by_l2_or_with_its_attention_skipped():
    torch.manual_seed(0)
    layer, x = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), torch.randn(64, 5, 16)
    with pytest.raises(sc.SecateurError, match=r"'self_attn\.out_proj' is never called as a module"):
        sc.prune(layer, 0.5, granularity="neuron", data=x)
    by_norm, skipped = (sc.prune(layer, 0.5, granularity="neuron", data=x, **given)
                        for given in ({"criterion": "l2"}, {"skip": ["self_attn"]}))
    assert tuple(by_norm.self_attn.out_proj.weight.shape) == (16, 8)
    assert tuple(by_norm.linear1.weight.shape) == tuple(skipped.linear1.weight.shape) == (16, 16)
    assert tuple(skipped.self_attn.out_proj.weight.shape) == (16, 16)
