"""A small network and small data for tests of the study, given by import path as a user gives his own."""

import torch
from torch import nn


def tiny():
    """16-12-8-4, no biases."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 8, bias=False),
                         nn.ReLU(), nn.Linear(8, 4, bias=False))


def blobs():
    """Four noisy classes of 4x4 images: 256 to train, 128 to test."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.rand(4, 1, 4, 4, generator=generator)

    def draw(count):
        labels = torch.arange(count) % 4
        noise = torch.randn(count, 1, 4, 4, generator=generator) * 0.25
        return (centres[labels] + noise).clamp(0, 1), labels

    return *draw(256), *draw(128)


def nothing():
    """A factory that returns no module."""
    return "not a module"


def wrong_classes():
    """A network with too few logits for the data."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def not_a_number():
    """A network with a NaN in its weights."""
    net = tiny()
    with torch.no_grad():
        net[1].weight[0, 0] = float("nan")
    return net


class Fickle(nn.Module):
    """Control flow on data: torch.export cannot take it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        return self.last(hidden * 2 if float(hidden.sum()) > 1e9 else hidden)


class Convolutions(nn.Module):
    """Convolutions with batch norms and a classifier, for images of 3x8x8."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.body, self.head = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(54, 4)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.5, 0.5)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.head(self.body(self.norm(self.stem(x)).relu()).relu().flatten(1))
