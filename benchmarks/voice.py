"""Silero VAD, a network of convolutions that hears whether someone speaks, with the weights that its package carries.

The package's ``silero_vad_16k.safetensors`` (MIT licence) and the architecture that its ``tinygrad_model.py`` tells;
eight spoken recordings that Debian's alsa-utils carries, with noise of several loudnesses.
"""

from __future__ import annotations

import importlib.util
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

INSTALL = "pip install silero-vad==6.2.3; apt-get install alsa-utils"
SPOKEN = ("Front_Center", "Front_Left", "Rear_Left", "Rear_Right", "Side_Left", "Front_Right", "Rear_Center",
          "Side_Right")
SHOWN = 5
FRAME, BEFORE, LENGTH = 512, 64, 64


class Voice(nn.Module):
    """Frames of sound at 16 kHz, each with the 64 values before it, ``(n, length, 576)``, to the probabilities that
    someone speaks, ``(n, length)``."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, 128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, 1, 1), nn.Conv1d(128, 64, 3, 2, 1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, 2, 1), nn.Conv1d(64, 128, 3, 1, 1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The spectrum of each frame, four convolutions over it, a memory from frame to frame."""
        n, length, _ = x.shape
        x = F.pad(x.reshape(n * length, 1, -1), (0, 64), mode="reflect")
        x = self.stft_conv(x)
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        x = self.lstm(x.reshape(n, length, 128))[0].relu()
        return torch.sigmoid(self.final_conv(x.transpose(1, 2)))[:, 0]


def silero() -> nn.Module:
    """The network with the package's weights."""
    from safetensors.torch import load_file

    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        raise SystemExit(f"silero-vad is not installed: {INSTALL}")
    held = load_file(Path(found.origin).parent / "data" / "silero_vad_16k.safetensors")
    network = Voice()
    network.load_state_dict({n.replace("lstm_cell.", "lstm.") + "_l0" * ("lstm" in n): t for n, t in held.items()})
    return network.eval()


def recordings(folder: Path) -> list[Tensor]:
    """The spoken recordings at 16 kHz, each ``(values,)``."""
    found = []
    for name in SPOKEN:
        path = folder / f"{name}.wav"
        if not path.exists():
            raise SystemExit(f"{path} is missing: {INSTALL}, or --sounds FOLDER")
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getsampwidth()) == (48000, 2), path
            values = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        found.append(third(torch.from_numpy(values[:, 0].astype(np.float32) / 32768)))
    return found


def third(sound: Tensor) -> Tensor:
    """A third of the rate, what is too high for it taken away first."""
    at = torch.arange(-48, 49) / 3
    kernel = torch.sinc(at) / 3 * torch.hann_window(99, periodic=False)[1:-1]
    return F.conv1d(sound[None, None], kernel[None, None], padding=48)[0, 0, ::3]


def frames(spoken: list[Tensor], copies: int, seed: int) -> Tensor:
    """Each recording so often, at another place and with other noise, as ``(n, 64, 576)``."""
    draw, made = torch.Generator().manual_seed(seed), []
    whole = LENGTH * FRAME
    for sound in spoken * copies:
        start = int(torch.randint(0, max(1, whole - len(sound)), (), generator=draw))
        line = F.pad(sound, (start, whole))[:whole]
        loud = 10 ** (-float(torch.rand((), generator=draw)) * 2 - 1.5)
        line = line + loud * torch.randn(whole, generator=draw) * float(sound.std()) * 10
        made.append(F.pad(line, (BEFORE, 0)).unfold(0, FRAME + BEFORE, FRAME))
    return torch.stack(made)


def alike(whole: Tensor, network: nn.Module, held: Tensor) -> dict[str, float]:
    """The part of the frames of which it says the same as the original, and the mean difference of probabilities."""
    with torch.inference_mode():
        found = network(held)
    return {"same": float(((found > 0.5) == (whole > 0.5)).float().mean()),
            "off": float((found - whole).abs().mean()), "speech": float((found > 0.5).float().mean())}
