"""The networks of ``benchmarks/runtime.py``: seeded He-normal weights, pruned by magnitude layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

Built = tuple[nn.Sequential, set[int]]
"""A network, and the places of the layers that stay whole."""


def mlp() -> Built:
    """784-1000-1000-500-200-10 without biases; the classifier stays whole."""
    sizes = [784, 1000, 1000, 500, 200, 10]
    layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return nn.Sequential(*layers[:-1]), {8}


def linear(a: int, b: int) -> Callable[[], Built]:
    """One linear layer with a bias."""
    return lambda: (nn.Sequential(nn.Linear(a, b)), set())


def cnn() -> Built:
    """conv3x3(32)-conv3x3(64)-pool-conv3x3(128)-pool-256-10 on 28x28; first convolution and classifier whole."""
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(6272, 256), nn.ReLU(), nn.Linear(256, 10)), {0, 11}


def resnet_like() -> Built:
    """The 3x3 convolutions that a ResNet-18 has, one of each shape, without the sums."""
    shapes = [(64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    return nn.Sequential(*(m for a, b, s in shapes for m in (nn.Conv2d(a, b, 3, s, 1), nn.ReLU()))), set()


def mobilenet_like() -> Built:
    """Depthwise 3x3 (whole) and pointwise 1x1 (pruned) convolutions of a MobileNet's first blocks."""
    shapes = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    layers = [m for a, b, s in shapes for m in (nn.Conv2d(a, a, 3, s, 1, groups=a), nn.ReLU(),
                                                nn.Conv2d(a, b, 1), nn.ReLU())]
    return nn.Sequential(*layers), set(range(0, len(layers), 4))


@dataclass(frozen=True)
class Net:
    """A network, the shape of one input, and the largest batch that is measured."""

    build: Callable[[], Built]
    shape: tuple[int, ...]
    most: int = 1024


NETS = {"mlp": Net(mlp, (784,)), "768-3072": Net(linear(768, 3072), (768,)),
        "4096-4096": Net(linear(4096, 4096), (4096,)), "cnn": Net(cnn, (1, 28, 28), 256),
        "resnet-like": Net(resnet_like, (64, 56, 56), 16), "mobilenet-like": Net(mobilenet_like, (32, 56, 56), 64)}


def network(name: str, sparsity: float) -> nn.Sequential:
    """A network of the table, pruned; always the same."""
    torch.manual_seed(0)
    net, whole = NETS[name].build()
    with torch.no_grad():
        for index, layer in enumerate(net):
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
                order = layer.weight.abs().flatten().argsort()
                if index not in whole:
                    layer.weight.view(-1)[order[:round(sparsity * len(order))]] = 0
    return net.eval()


def padded(net: nn.Sequential, to: int = 16) -> nn.Sequential:
    """A chain of linear layers with its hidden widths filled up with zeros to a multiple of ``to``.

    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    >>> x = torch.ones(2, 4)
    >>> padded(net)[0].out_features, torch.allclose(padded(net)(x), net(x))
    (16, True)
    """
    linears = [m for m in net if isinstance(m, nn.Linear)]
    filled: list[nn.Module] = []
    for layer in net:
        if not isinstance(layer, nn.Linear):
            filled.append(layer)
            continue
        rows = layer.out_features if layer is linears[-1] else -(-layer.out_features // to) * to
        columns = layer.in_features if layer is linears[0] else -(-layer.in_features // to) * to
        wide = nn.Linear(columns, rows, bias=layer.bias is not None)
        with torch.no_grad():
            for p, q in zip(wide.parameters(), layer.parameters(), strict=True):
                p.zero_()[tuple(map(slice, q.shape))] = q
        filled.append(wide)
    return nn.Sequential(*filled).eval()


def served() -> nn.Sequential:
    """The network of ``benchmarks/serve.py``: 784-2048-2048-10."""
    return nn.Sequential(nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))
