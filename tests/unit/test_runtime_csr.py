from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur import SecateurError, runtime


def pruned(layer: nn.Linear, sparsity: float) -> nn.Linear:
    weight = layer.weight.data
    k = round(sparsity * weight.numel())
    weight.flatten()[weight.abs().flatten().argsort()[:k]] = 0
    return layer


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(pruned(nn.Linear(20, 30), 0.8), nn.ReLU(), pruned(nn.Linear(30, 17, bias=False), 0.5),
                         nn.ReLU(), nn.Linear(17, 4)).eval()


@pytest.mark.parametrize("batch", [0, 1, 2, 33])
def test_outputs_equal_the_dense_ones_at_any_batch(net, batch):
    fast = runtime.compile(net, torch.randn(3, 20), engine="csr")
    x = torch.randn(batch, 20)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x))
    assert fast(x).is_contiguous()


def test_hand_solved():
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[0.0, 2, 0], [1, 0, -1]])
    layer.bias.data = torch.tensor([10.0, 20])
    fast = runtime.compile(layer, torch.zeros(1, 3), engine="csr")
    assert fast(torch.tensor([[1.0, 2, 3]])).tolist() == [[14.0, 18.0]]
    assert fast(torch.ones(2, 2, 3)).shape == (2, 2, 2)


def test_the_model_stays_as_it_is(net):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    runtime.compile(net, torch.randn(3, 20), engine="csr")
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_explain_names_every_layer(net):
    text = runtime.compile(net, torch.randn(3, 20), engine="csr").explain()
    assert "0: torch CSR, sparsity 0.8000, 120 non-zeros" in text
    assert "4: dense Linear, no zeros" in text


def test_convolutions_stay_dense():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), pruned(nn.Linear(27, 5), 0.9)).eval()
    x = torch.randn(2, 1, 5, 5)
    fast = runtime.compile(net, x, engine="csr")
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x))


@pytest.mark.parametrize(("change", "message"), [
    (lambda n, x: (n, None, "csr"), "got no example"),
    (lambda n, x: (n, x[:, :7], "csr"), "the example does not run"),
    (lambda n, x: (n, "x", "csr"), "got str"),
    (lambda n, x: (n.double(), x, "csr"), "torch.float64, allowed: torch.float32"),
    (lambda n, x: (n, x, "crs"), "did you mean 'csr'"),
    (lambda n, x: (n.to("meta"), x, "csr"), "is on 'meta', allowed: cpu"),
    (lambda n, x: (lambda y: y, x, "csr"), "got function as model"),
])
def test_bad_input_is_refused(net, change, message):
    with pytest.raises(SecateurError, match=message):
        runtime.compile(*change(net, torch.randn(3, 20)))


def test_training_and_gradients_are_refused(net):
    fast = runtime.compile(net, torch.randn(3, 20), engine="csr")
    with pytest.raises(SecateurError, match="inference only"):
        fast.train()
    with pytest.raises(SecateurError, match="inference only"):
        fast(torch.randn(3, 20, requires_grad=True))
    assert fast.eval() is fast
