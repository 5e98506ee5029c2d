"""The rows and equations of refits against slow twins: plain hooks for the rows, least squares row by row."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core.linalg import Equations
from secateur.data.calibration import calibration
from secateur.recovery.layer_io import LayerRows, RefitLayers
from secateur.recovery.methods.base import Recovery, RecoveryContext
from secateur.recovery.pipeline import recover


def branched():
    """ReLUs that write in place, a convolution of groups, and a second layer behind each."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(inplace=True),
                         nn.Flatten(), nn.Linear(32, 16), nn.ReLU(inplace=True), nn.Linear(16, 4)).eval()


def context_of(net, data):
    plan = sc.plan(net, 0.5, granularity="weight", criterion="magnitude", example=torch.zeros(1, 2, 6, 6), skip=())
    return RecoveryContext(net, sc.apply(net, plan), plan, calibration(data))


def seen(net, layer, x):
    """What a layer reads and gives, by hooks on a whole pass over all samples."""
    kept = {}
    module = net.get_submodule(layer)
    handles = [module.register_forward_pre_hook(lambda _, inputs: kept.update(x=inputs[0].clone())),
               module.register_forward_hook(lambda _, __, made: kept.update(y=made.clone()))]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return kept["x"], kept["y"]


def shuffled(x):
    return torch.utils.data.DataLoader(x, 25, shuffle=True, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", [lambda x: x.split(40), shuffled], ids=["fixed batches", "shuffled batches"])
def test_rows_are_what_the_cut_layer_reads_and_the_original_gives_while_layers_change(form):
    net, x = branched(), torch.randn(100, 2, 6, 6)
    context = context_of(net, form(x))
    before = copy.deepcopy(net.state_dict())
    for layer in RefitLayers(context):
        pairs = list(LayerRows(context, layer))
        inputs, _ = seen(context.pruned, layer.name, x)
        _, outputs = seen(context.original, layer.name, x)
        if isinstance(layer.module, nn.Linear):
            found = torch.cat([torch.cat([a[0], b[0]], 1) for a, b in pairs])
            want = torch.cat([inputs, outputs], 1)
            order = [t[:, -1].argsort() for t in (found, want)]
            assert torch.allclose(found[order[0]], want[order[1]], atol=1e-5)
        total = sum(float(b.double().square().sum()) for _, b in pairs)
        assert total == pytest.approx(float(outputs.double().square().sum()), rel=1e-5)
        with torch.no_grad():
            layer.module.weight.mul_(1.5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any("forward" in vars(m) for n in (context.original, context.pruned) for m in n.modules())


@pytest.mark.parametrize("kept", ["none", "all"])
@pytest.mark.parametrize("closeness", [0.1, 1e-3])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
def test_equations_for_many_right_sides_are_least_squares_row_by_row(share, closeness, kept, monkeypatch):
    monkeypatch.setattr("secateur.core.linalg.KEPT", 0 if kept == "none" else 1 << 30)
    monkeypatch.setattr("secateur.core.linalg.ROOM", 2000)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 30, generator=draw).double() * torch.logspace(-3, 3, 30).double()
    x[:, 7] = x[:, 6] * 10**0.2 + closeness * x[:, 7]
    support = torch.rand(20, 30, generator=draw) < share
    support[0], support[1], support[2, 6:8] = False, True, True
    system = Equations(x.T @ x, support)
    for _ in range(2):
        y = torch.randn(400, 20, generator=draw).double()
        found = system.solve(x.T @ y)
        for row, mask, target in zip(found, support, y.T, strict=True):
            assert not row[~mask].any()
            if mask.any():
                want = torch.linalg.lstsq(x[:, mask], target[:, None]).solution[:, 0]
                assert torch.allclose(x[:, mask] @ row[mask], x[:, mask] @ want, atol=1e-4)


class Own(Recovery):
    """Gives a network back, as a class of a user's own may."""

    def recover(self, context):
        return context.pruned


@pytest.mark.parametrize("first", ["reconstruct", "rechoose", "best"])
def test_the_rows_that_layers_were_refitted_to_come_back_beside_the_network(first):
    context = context_of(branched(), torch.randn(10, 2, 6, 6))
    result = recover(context.original, context.pruned, context.plan, [Own(), first, Own()], context.samples)
    assert result.rows == {"0": (160, 18), "2": (40, 27), "5": (10, 32), "7": (10, 16)}
    assert recover(context.original, context.pruned, context.plan, Own(), context.samples).rows == {}


def test_sparsegpt_sees_rows_of_the_layers_that_are_cut():
    net, x = branched(), torch.randn(10, 2, 6, 6)
    plan = sc.plan(net, 0.5, skip=["7"], example=x[:1])
    result = recover(net, sc.apply(net, plan), plan, "sparsegpt", calibration(x))
    assert result.rows == {"0": (160, 18), "2": (40, 27), "5": (10, 32)}
