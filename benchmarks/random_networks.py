"""Random small networks for ``benchmarks/fuzz.py``: chains and branches of most layers that networks are made of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SIZES = (1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100)
Shape = tuple[int, ...]


class Network(nn.Module):
    """Steps one after the other; a step reads the last value, and some an older one of the same shape too."""

    def __init__(self, rng: random.Random):
        super().__init__()
        self.shape: Shape = rng.choice([(rng.choice(SIZES),), (rng.randint(1, 6), rng.randint(4, 24)),
                                        (rng.randint(1, 6), rng.randint(3, 12), rng.randint(3, 12))])
        self.steps = nn.ModuleList()
        self.older: list[int | None] = []
        shapes = [self.shape]
        for _ in range(rng.randint(2, 8)):
            made = step(rng, shapes)
            if made is not None:
                self.steps.append(made[0])
                self.older.append(made[1])
                shapes.append(tuple(trial(made[0], shapes, made[1]).shape[1:]))
        self.extra = rng.randrange(len(shapes)) if rng.random() < 0.2 else None

    def forward(self, x: Tensor) -> Any:
        """The last value; one network in five gives an older one too."""
        values = [x]
        for layer, older in zip(self.steps, self.older, strict=True):
            values.append(layer(values[-1]) if older is None else layer(values[-1], values[older]))
        return values[-1] if self.extra is None else (values[-1], values[self.extra])


class Pair(nn.Module):
    """Two values become one."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum, the concatenation along the channels, or the product."""
        return x + y if self.kind == "add" else x * y if self.kind == "mul" else torch.cat([x, y], 1)


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """Its value."""
        return FUNCTIONS[self.name](x)

    def extra_repr(self) -> str:
        """Its name."""
        return self.name


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "cumsum": lambda x: x.cumsum(1), "double": lambda x: x * 2 + 1, "mean": lambda x: x.mean((2, 3)),
    "flatten": lambda x: x.flatten(1), "clone": lambda x: x.clone().contiguous(),
    "transpose": lambda x: x.transpose(1, -1), "unsqueeze": lambda x: x.unsqueeze(-1)}


def trial(layer: nn.Module, shapes: list[Shape], older: int | None) -> Tensor:
    """What a layer makes of zeros."""
    inputs = [torch.zeros(2, *shapes[-1]), *([] if older is None else [torch.zeros(2, *shapes[older])])]
    with torch.no_grad():
        return layer.eval()(*inputs)  # type: ignore[no-any-return]


def step(rng: random.Random, shapes: list[Shape]) -> tuple[nn.Module, int | None] | None:
    """A layer that takes the last shape; None where the draw does not fit."""
    shape = shapes[-1]
    kinds = [weighted, weighted, weighted, activation, activation, norm, pool if len(shape) == 3 else weighted, other]
    if rng.random() < 0.2:
        return pair(rng, shapes)
    layer = rng.choice(kinds)(rng, shape)
    try:
        small = layer is not None and trial(layer, shapes, None).numel() < 20_000
    except RuntimeError:
        return None
    return (layer, None) if layer is not None and small else None


def pair(rng: random.Random, shapes: list[Shape]) -> tuple[nn.Module, int] | None:
    """A sum, product or concatenation with an older value."""
    last = shapes[-1]
    equal = [k for k, s in enumerate(shapes) if s == last]
    near = [k for k, s in enumerate(shapes) if s[1:] == last[1:] and s[0] + last[0] < 200]
    kind = rng.choice(["add", "add", "cat", "mul"])
    fitting = near if kind == "cat" else equal
    return (Pair(kind), rng.choice(fitting)) if fitting else None


def weighted(rng: random.Random, shape: Shape) -> nn.Module:
    """A linear layer or a convolution."""
    bias = rng.random() < 0.5
    if len(shape) == 1 or rng.random() < 0.1:
        return nn.Linear(shape[-1], rng.choice(SIZES), bias=bias)
    groups = rng.choice([1, 1, 1, shape[0], *(g for g in (2, 3) if shape[0] % g == 0)])
    axes = len(shape) - 1

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randint(low, high) for _ in range(axes))

    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    return kind(shape[0], groups * rng.randint(1, 4), each(1, 4), each(1, 3), each(0, 3), each(1, 2), groups, bias)


def activation(rng: random.Random, shape: Shape) -> nn.Module:
    """An activation, ReLU often."""
    del shape
    return rng.choice([nn.ReLU(), nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(rng.choice([0.01, 0.5])),
                       nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.Hardswish(),
                       nn.Hardsigmoid(), nn.ELU()])


def norm(rng: random.Random, shape: Shape) -> nn.Module:
    """Batch norm with statistics of its own, layer norm, softmax."""
    kind = rng.random()
    if kind < 0.2:
        return nn.Softmax(rng.choice([1, -1]))
    if kind < 0.5:
        return nn.LayerNorm(shape[-1:] if rng.random() < 0.5 else shape, elementwise_affine=rng.random() < 0.7)
    layer = (nn.BatchNorm1d if len(shape) < 3 else nn.BatchNorm2d)(shape[0], affine=rng.random() < 0.7)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


def pool(rng: random.Random, shape: Shape) -> nn.Module:
    """Pooling of any kind."""
    del shape
    window, stride = rng.randint(1, 3), rng.randint(1, 3)
    padding, up = rng.randint(0, window // 2), rng.random() < 0.2
    return rng.choice([nn.MaxPool2d(window, stride, padding, rng.choice([1, 1, 2]), ceil_mode=up),
                       nn.AvgPool2d(window, stride, padding, up, rng.random() < 0.5),
                       nn.AdaptiveAvgPool2d((rng.randint(1, 3), rng.randint(1, 3))), nn.AdaptiveAvgPool2d(1),
                       nn.AdaptiveMaxPool2d(rng.randint(1, 2))])


def other(rng: random.Random, shape: Shape) -> nn.Module:
    """Changes of shape, and functions for which there are no kernels."""
    names = ["cumsum", "double", "clone"] + (["flatten"] * 4 + ["transpose"] if len(shape) > 1 else ["unsqueeze"])
    return Function(rng.choice(names + (["mean"] if len(shape) == 3 else [])))


def pruned(net: nn.Module, rng: random.Random) -> nn.Module:
    """Zeros in the weights, of another share in each layer: none, all, whole rows and columns among them."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                weight, sparsity = layer.weight, rng.choice([0, 0.2, 0.5, 0.5, 0.8, 0.8, 0.9, 0.9, 0.98, 1])
                weight.normal_(0, (2 / weight[0].numel() / (1.02 - sparsity)) ** 0.5)
                weight[torch.rand_like(weight) < sparsity] = 0
                if rng.random() < 0.2:
                    weight[rng.randrange(len(weight))] = 0
                    weight[:, rng.randrange(weight.shape[1])] = 0
    return net.eval()


def network(seed: int) -> tuple[Network, random.Random]:
    """The network of a seed, and the source of what is drawn after it."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net = Network(rng)
    pruned(net, rng)
    return net, rng
