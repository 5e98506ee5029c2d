"""Inputs for networks that no one here trained: photographs, faces and speech that packages carry or make.

Photographs of scikit-image and scikit-learn, faces of scikit-image, and speech by espeak-ng. What is shown to a
recovery and what is held out come from other photographs, other faces, other voices and other sentences.
"""

from __future__ import annotations

import importlib.util
import io
import math
import shutil
import subprocess
import wave
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sentences import corpus
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SHOWN = ("skimage astronaut.png", "skimage motorcycle_left.png", "skimage ihc.png", "skimage retina.jpg",
         "skimage hubble_deep_field.jpg", "skimage grass.png", "skimage gravel.png", "skimage brick.png",
         "skimage coins.png", "skimage moon.png", "skimage color.png", "skimage page.png", "skimage text.png",
         "skimage clock_motion.png", "sklearn china.jpg")
HELD = ("skimage chelsea.png", "skimage rocket.jpg", "skimage coffee.png", "skimage camera.png", "sklearn flower.jpg")
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
FACES = 100
VOICES = ("f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "croak", "klatt", "klatt2", "klatt3",
          "klatt5", "klatt6", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2",
          "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "adam", "anika", "antonio", "aunty",
          "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "grandma", "grandpa", "gustave",
          "iven", "iven2", "iven3", "iven4", "john", "kaukovalta", "linda", "marcelo", "max", "michel", "miguel",
          "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2",
          "steph3", "travis", "victor", "zac")
OTHER_VOICES = ("f5", "m8", "klatt4", "whisper")
RATE, FRAMES, LOUD = 16000, 160, 10 ** (-30 / 20)


def file_of(package: str, name: str) -> Path:
    """A file that a package carries, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: pip install scikit-image scikit-learn")
    return Path(found.origin).parent / FOLDERS[package] / name


@cache
def photograph(name: str) -> Tensor:
    """A photograph, ``(3, height, width)`` in [0, 255]."""
    from PIL import Image

    with Image.open(file_of(*name.split())) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()


def crops(names: tuple[str, ...], count: int, size: int, seed: int, blended: float = 0.0) -> Tensor:
    """Squares of photographs in turn, ``(count, 3, size, size)`` in [0, 255]: of two fifths of the shorter side
    to all of it, half of them mirrored, colours and brightness moved; so large a part with another square
    laid over it."""
    draw = torch.Generator().manual_seed(seed)
    made = torch.stack([_crop(photograph(names[i % len(names)]), size, draw) for i in range(count)])
    over, weight = made[torch.randperm(count, generator=draw)], torch.rand(count, 1, 1, 1, generator=draw)
    lies = (torch.rand(count, 1, 1, 1, generator=draw) < blended).float()
    return made.lerp(over, 0.5 * weight * lies)


def _crop(image: Tensor, size: int, draw: torch.Generator) -> Tensor:
    """One of them."""
    part, down, right, mirror, *gains = torch.rand(8, generator=draw).tolist()
    side = max(8, int(min(image.shape[1:]) * (0.4 + 0.6 * part)))
    top, left = int(down * (image.shape[1] - side)), int(right * (image.shape[2] - side))
    square = image[None, :, top:top + side, left:left + side]
    square = F.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    moved = square * (0.85 + 0.3 * torch.tensor(gains[:3])[:, None, None]) + 30 * (gains[3] - 0.5)
    return (moved.flip(2) if mirror < 0.5 else moved).clamp(0, 255)


def faces(held: bool, copies: int, size: int, seed: int) -> Tensor:
    """Half of the faces of scikit-image's subset of Labeled Faces in the Wild, each so often, ``(n, 3, size, size)`` in
    [0, 255], a little moved."""
    draw = torch.Generator().manual_seed(seed)
    known = torch.from_numpy(np.load(file_of("skimage", "lfw_subset.npy"))[:FACES]).float()
    some = known[held::2].repeat(copies, 1, 1)[:, None].expand(-1, 3, -1, -1) * 255
    large = F.interpolate(some, (size + 12, size + 12), mode="bilinear", align_corners=False)
    places = torch.randint(0, 13, (len(large), 2), generator=draw).tolist()
    return torch.stack([one[:, top:top + size, left:left + size]
                        for one, (top, left) in zip(large, places, strict=True)])


def mels(held: bool, count: int) -> Tensor:
    """Speech in pieces of 1.6 seconds, ``(count, 160, 40)``: each sentence read by the next voice, faster and higher by
    turns."""
    texts, voices = corpus(count, count)[held], OTHER_VOICES if held else VOICES
    found = list[Tensor]()
    for number, text in enumerate(texts):
        sound = spoken(text, f"en-us+{voices[number % len(voices)]}", 130 + 20 * (number % 5), 25 + 10 * (number % 6))
        found.extend(mel(sound).split(FRAMES)[:-1])
        if len(found) >= count:
            break
    return torch.stack(found[:count])


def spoken(text: str, voice: str, speed: int, pitch: int) -> Tensor:
    """A sentence as sound at 16 kHz, not quieter than Resemblyzer's volume."""
    if (program := shutil.which("espeak-ng")) is None:
        raise SystemExit("espeak-ng is not installed: apt-get install espeak-ng")
    from scipy.signal import resample_poly

    made = subprocess.run([program, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
                          check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(made)) as file:
        rate, values = file.getframerate(), np.frombuffer(file.readframes(1 << 30), np.int16)
    sound = torch.from_numpy(resample_poly(values / 32768, RATE, rate)).float()
    return sound * max(1.0, LOUD / float(sound.square().mean().sqrt()))


def mel(sound: Tensor) -> Tensor:
    """The power in 40 bands of each 10 ms, ``(frames, 40)``, as librosa's ``melspectrogram`` gives it."""
    power = torch.stft(sound, 400, 160, window=torch.hann_window(400), pad_mode="constant", return_complex=True)
    return (bands() @ power.abs().square()).T


@cache
def bands() -> Tensor:
    """Slaney's mel bands for 201 frequencies to 8 kHz, ``(40, 201)``, each of the area that librosa gives it."""
    step = math.log(6.4) / 27
    top = 15 + math.log(RATE / 2 / 1000) / step
    marks = torch.linspace(0, top, 42, dtype=torch.float64)
    edges = torch.where(marks < 15, marks * 200 / 3, 1000 * ((marks - 15) * step).exp())
    tones = torch.linspace(0, RATE / 2, 201, dtype=torch.float64)
    rising = (tones - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - tones) / (edges[2:] - edges[1:-1])[:, None]
    return (torch.minimum(rising, falling).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]).float()
