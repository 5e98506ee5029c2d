"""Bytes on the disk of pruned networks, and CPU seconds to save and load them.

    python benchmarks/files.py --json benchmarks/results/files.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path = [p for p in sys.path if p != str(HERE)]

import torch  # noqa: E402
from torch import nn  # noqa: E402

import secateur as sc  # noqa: E402
from secateur import files  # noqa: E402
from secateur.core import registry  # noqa: E402
from secateur.core.machine import machine  # noqa: E402

NETWORKS = {"mlp": (1, 28, 28), "lenet5": (1, 28, 28), "resnet20": (3, 32, 32)}
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
TIMES = 5


def seconds(call: Callable[[], Any]) -> float:
    """The median CPU time of a call."""
    spent = []
    for _ in range(TIMES):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def in_int8(net: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The network in int8, all of its layers; its bytes depend on no data."""
    inputs = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    return sc.quantize(net, inputs, keep=(), rounding="nearest")


def row(net: nn.Module, make: Callable[[], nn.Module], name: str, sparsity: float, folder: Path) -> dict[str, Any]:
    """One network at one sparsity."""
    dense = files.save_dense(net, folder / "dense").stat().st_size
    graph = sc.save(net, folder / "graph", torch.rand(2, *NETWORKS[name]))
    found = {"network": name, "sparsity": sparsity, "dense": dense,
             "f32": sc.save(net, folder / "f32").stat().st_size,
             "bf16": sc.save(net, folder / "bf16", values="bf16").stat().st_size,
             "int8": files.file_bytes(in_int8(net, NETWORKS[name])),
             "graph": graph.stat().st_size - (folder / "f32").stat().st_size,
             "forms": sorted({t.form for t in files.tell(folder / "f32").tensors})}
    return found | {"save_s": seconds(lambda: sc.save(net, folder / "f32")),
                    "save_dense_s": seconds(lambda: files.save_dense(net, folder / "dense")),
                    "load_s": seconds(lambda: sc.load(folder / "f32", make)), "make_s": seconds(make),
                    "load_graph_s": seconds(lambda: sc.load(folder / "graph")),
                    "tell_s": seconds(lambda: files.tell(folder / "f32"))}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in NETWORKS.items():
            maker = registry.get("models", name)
            whole = maker(shape, 10).eval()
            for sparsity in (0.0, *SPARSITIES):
                rows.append(row(sc.prune(whole, sparsity, skip=()), lambda m=maker, s=shape: m(s, 10), name, sparsity,
                                Path(folder)))
                print(json.dumps(rows[-1]))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(), "threads": 1, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
