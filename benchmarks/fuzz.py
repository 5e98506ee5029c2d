"""Random small networks on the kernels against torch, until a count is reached or one differs.

    python benchmarks/fuzz.py --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import itertools
import random
import time

import numpy as np
import torch
from torch import nn

from secateur.runtime import capture, isa
from secateur.runtime.segment import Runner


def network(rng: random.Random) -> tuple[nn.Sequential, tuple[int, ...]]:
    """A chain of linear layers, or convolutions with pooling in front of one."""
    if rng.random() < 0.6:
        sizes = [rng.choice([1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 100]) for _ in range(rng.randint(2, 4))]
        layers = [m for a, b in itertools.pairwise(sizes) for m in (linear(rng, a, b), activation(rng))]
        return nn.Sequential(*layers), (sizes[0],)
    channels, size = rng.randint(1, 9), (rng.randint(3, 12), rng.randint(3, 12))
    groups = rng.choice([1, 1, channels])
    layers = [nn.Conv2d(channels, groups * rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 2), rng.randint(0, 2),
                        groups=groups, bias=rng.random() < 0.5), activation(rng)]
    if rng.random() < 0.5:
        layers += [nn.BatchNorm2d(layers[0].out_channels)] if rng.random() < 0.5 else [nn.AvgPool2d(1)]
        layers[1:] = layers[:0:-1]
    layers += [nn.Conv2d(layers[0].out_channels, rng.randint(1, 6), 3, padding=1), activation(rng), nn.Flatten()]
    return nn.Sequential(*layers), (channels, *size)


def linear(rng: random.Random, a: int, b: int) -> nn.Linear:
    """A layer with or without a bias."""
    return nn.Linear(a, b, bias=rng.random() < 0.5)


def activation(rng: random.Random) -> nn.Module:
    """An activation, ReLU half the time."""
    return rng.choice([nn.ReLU()] * 4 + [nn.ReLU6(), nn.LeakyReLU(0.1), nn.GELU(), nn.SiLU(), nn.Tanh()])


def once(seed: int) -> str:
    """One network at a few batches and every instruction set; what differs, or nothing."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net, shape = network(rng)
    sparsity = rng.choice([0, 0.2, 0.5, 0.8, 0.9, 0.98, 1])
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight[torch.rand_like(module.weight) < sparsity] = 0
    net.eval()
    found = capture.capture(net, (torch.randn(2, *shape),))
    for segment, dense in zip(found.segments, found.dense, strict=True):
        for name in isa.available():
            runner = Runner(segment, dense, isa.ISAS[name], 0, always=True)
            x = torch.randn(rng.choice([1, 3, 8, 17, 64]), *segment.inputs[0].shape)
            if problem := compare(runner, dense, x, rng):
                return f"seed {seed}, {name}, batch {len(x)}: {problem}\n{net}"
    return ""


def compare(runner: Runner, dense: nn.Module, x: torch.Tensor, rng: random.Random) -> str:
    """Finite inputs to a tolerance, and one NaN or infinite value with NaN in the same places."""
    got, wanted = runner(x), dense(x)
    for a, b in zip(got, wanted, strict=True):
        if not torch.allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max()))):
            return f"differs by {float((a - b).abs().max()):.2e}"
    x.view(-1)[rng.randrange(x.numel())] = rng.choice([float("nan"), float("inf"), -float("inf")])
    for a, b in zip(runner(x), dense(x), strict=True):
        if not torch.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True):
            return "NaN or infinity comes out differently"
    return ""


def main() -> None:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    begin = time.time()
    with torch.no_grad():
        for seed in range(args.seed, args.seed + args.count):
            if problem := once(seed):
                raise SystemExit(problem)
    print(f"{args.count} networks from seed {args.seed}: no mismatch, {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
