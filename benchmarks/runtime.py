"""Pruned networks on secateur's kernels beside every other engine that can be installed, on this machine.

    python benchmarks/runtime.py --nets mlp --batches 1,16,64 --sparsity 0.8,0.9 --out benchmarks/runtime.json

Each case is one (net, sparsity, batch, threads). Every engine's outputs are checked against torch
eager in double precision first; one that is wrong is named and not timed. Then the engines take turns,
round by round, a short block of calls each; a time is the median over rounds of a block's median, and
a ratio the median over rounds of the ratio within the round. Peers run in environments of their own
under ``--peers-folder`` (made by ``--install``); those that are not there are named as absent. Rows
are added to the JSON file; a case that is in it already is measured again and replaced.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import mkldnn

from secateur import runtime
from secateur.runtime import isa

PEERS = {"onnxruntime": ["onnxruntime", "onnx"], "openvino": ["openvino", "onnx"],
         "deepsparse": ["deepsparse==1.8.0", "numpy==1.26.4", "onnx==1.14.1"]}
SHAPES = {"mlp": (784,), "768-3072": (768,), "4096-4096": (4096,), "cnn": (1, 28, 28), "resnet-like": (64, 56, 56),
          "mobilenet-like": (32, 56, 56)}


def network(name: str, sparsity: float) -> nn.Sequential:
    """A net with He-normal weights, pruned by magnitude layer by layer; the classifier stays whole."""
    torch.manual_seed(0)
    net, keep = NETS[name]()
    with torch.no_grad():
        for index, layer in enumerate(net):
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
                order = layer.weight.abs().flatten().argsort()
                if index not in keep:
                    layer.weight.view(-1)[order[:round(sparsity * len(order))]] = 0
    return net.eval()


def mlp() -> tuple[nn.Sequential, set[int]]:
    """784-1000-1000-500-200-10 without biases."""
    sizes = [784, 1000, 1000, 500, 200, 10]
    layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return nn.Sequential(*layers[:-1]), {8}


def linear(a: int, b: int) -> Callable[[], tuple[nn.Sequential, set[int]]]:
    """One linear layer with a bias."""
    return lambda: (nn.Sequential(nn.Linear(a, b)), set())


def cnn() -> tuple[nn.Sequential, set[int]]:
    """conv3x3(32)-conv3x3(64)-pool-conv3x3(128)-pool-256-10 on 28x28; first convolution and classifier whole."""
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(6272, 256), nn.ReLU(), nn.Linear(256, 10)), {0, 11}


def resnet_like() -> tuple[nn.Sequential, set[int]]:
    """Convolutions of a ResNet-18's first three stages, without the sums."""
    return nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(),
                         nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 256, 3, 2, 1), nn.ReLU()), set()


def mobilenet_like() -> tuple[nn.Sequential, set[int]]:
    """Depthwise 3x3 (whole) and pointwise 1x1 (pruned) convolutions."""
    return nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.Conv2d(32, 64, 1), nn.ReLU(),
                         nn.Conv2d(64, 64, 3, 2, 1, groups=64), nn.ReLU(), nn.Conv2d(64, 128, 1), nn.ReLU()), {0, 4}


NETS: dict[str, Callable[[], tuple[nn.Sequential, set[int]]]] = {
    "mlp": mlp, "768-3072": linear(768, 3072), "4096-4096": linear(4096, 4096), "cnn": cnn,
    "resnet-like": resnet_like, "mobilenet-like": mobilenet_like}

DENSE = ("torch eager", "torch oneDNN", "torch.compile", "onnxruntime", "openvino")

Timer = Callable[[float], float]


class InProcess:
    """An engine in this process."""

    def __init__(self, make: Callable[[nn.Sequential, torch.Tensor], Callable[[torch.Tensor], Any]]):
        self.make = make

    def open(self, net: nn.Sequential, x: torch.Tensor) -> tuple[np.ndarray, Timer, str]:
        """Outputs, a timer, the version."""
        call = self.make(net, x)
        return np.asarray(call(x)), lambda seconds: timed(lambda: call(x), seconds), torch.__version__


def timed(call: Callable[[], Any], seconds: float) -> float:
    """The median of the calls that fit into some seconds, after two that do not count."""
    call(), call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def onednn(net: nn.Sequential, x: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    """torch with prepacked oneDNN layers, conversions included."""
    del x
    fast = mkldnn.to_mkldnn(copy.deepcopy(net))
    return lambda x: fast(x.to_mkldnn()).to_dense()


def scipy_csr(net: nn.Sequential, x: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    """scipy CSR products, feature-major; linear nets only."""
    import scipy.sparse

    del x
    if not all(isinstance(m, (nn.Linear, nn.ReLU)) for m in net):
        raise ValueError("linear layers only")
    weights = [None if isinstance(m, nn.ReLU) else (scipy.sparse.csr_matrix(m.weight.detach().numpy()),
               None if m.bias is None else m.bias.detach().numpy()[:, None]) for m in net]

    def call(x: torch.Tensor) -> Any:
        value = np.ascontiguousarray(x.numpy().T)
        for weight in weights:
            if weight is None:
                value = np.maximum(value, 0, out=value)
            else:
                value = weight[0] @ value
                value = value if weight[1] is None else value + weight[1]
        return np.ascontiguousarray(value.T)

    return call


def torch_compile(net: nn.Sequential, x: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    """torch.compile with default settings, for this shape."""
    compiled = torch.compile(net, dynamic=False)
    compiled(x)
    return compiled


ENGINES = {
    "torch eager": InProcess(lambda net, _: net),
    "torch oneDNN": InProcess(onednn),
    "torch.compile": InProcess(torch_compile),
    "torch CSR": InProcess(lambda net, x: runtime.compile(net, x, engine="csr")),
    "scipy CSR": InProcess(scipy_csr),
    "secateur": InProcess(lambda net, x: runtime.compile(net, x)),
    "secateur avx2": InProcess(lambda net, x: runtime.compile(net, x, isa="avx2")),
}


class Peer:
    """An engine in a process of its own."""

    def __init__(self, name: str, folder: Path, threads: int):
        self.python = folder / name / "bin" / "python"
        if not self.python.exists():
            raise FileNotFoundError("not installed")
        script = Path(__file__).with_name("peer.py")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NM_DISABLE_ANALYTICS": "True"}
        self.process = subprocess.Popen([str(self.python), str(script), name, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    def ask(self, **order: Any) -> dict[str, Any]:
        """One order, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def open(self, net: nn.Sequential, x: torch.Tensor) -> tuple[np.ndarray, Timer, str]:
        """Outputs, a timer, the version."""
        layers, weights = described(net)
        with tempfile.TemporaryDirectory() as folder:
            files = {k: f"{folder}/{k}.{e}" for k, e in (("build", "npz"), ("inputs", "npy"), ("outputs", "npy"))}
            np.savez(files["build"], **weights)
            np.save(files["inputs"], x.numpy())
            version = self.ask(layers=layers, **files)["version"]
            return np.load(files["outputs"]), lambda seconds: self.ask(seconds=seconds)["seconds"], version


def described(net: nn.Sequential) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The layers as plain data, and their arrays."""
    kinds = {nn.Linear: "linear", nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "pool", nn.Flatten: "flatten"}
    layers, weights = [], {}
    for k, m in enumerate(net):
        layer: dict[str, Any] = {"kind": kinds[type(m)]}
        if isinstance(m, nn.Conv2d):
            layer |= {"padding": m.padding[0], "stride": m.stride[0], "groups": m.groups}
        weights |= {f"{k}.{n}": p.detach().numpy() for n, p in m.named_parameters()}
        layers.append(layer)
    return layers, weights


def case(name: str, sparsity: float, batch: int, engines: dict[str, Any], seconds: float,
         rounds: int) -> dict[str, Any]:
    """Check every engine, then let them take turns."""
    net, x = network(name, sparsity), torch.randn(batch, *SHAPES[name])
    exact = net.double()(x.double()).numpy()
    net.float()
    timers: dict[str, Timer] = {}
    row: dict[str, Any] = {"engines": {}, "problems": {}}
    for label, engine in engines.items():
        try:
            out, timer, version = engine.open(net, x)
            error = float(np.abs(out - exact).max() / np.abs(exact).max())
            if not error < 1e-4:
                raise RuntimeError(f"wrong outputs, relative error {error:.1e}")
            timers[label] = timer
            row["engines"][label] = {"version": version, "error": error, "seconds": []}
        except Exception as problem:
            row["problems"][label] = str(problem)[:200]
    for _ in range(rounds):
        for label, timer in timers.items():
            row["engines"][label]["seconds"].append(timer(seconds))
    return row


def summary(row: dict[str, Any]) -> None:
    """Add medians, quartiles and ratios to torch eager and to the best dense engine of each round."""
    base = row["engines"]["torch eager"]["seconds"]
    dense = [e for e in DENSE if e in row["engines"]]
    best = min(dense, key=lambda e: statistics.median(row["engines"][e]["seconds"]))
    row["best_dense"] = best
    for entry in row["engines"].values():
        times = entry["seconds"]
        entry["median"] = statistics.median(times)
        entry["low"], _, entry["high"] = statistics.quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
        entry["over_eager"] = statistics.median(b / t for b, t in zip(base, times, strict=True))
        entry["over_best_dense"] = statistics.median(
            b / t for b, t in zip(row["engines"][best]["seconds"], times, strict=True))


def machine() -> dict[str, Any]:
    """Facts about this machine and its software."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    import llvmlite

    return {"cpu": cpu, "cores": os.cpu_count(), "os": platform.platform(), "python": platform.python_version(),
            "torch": torch.__version__, "numpy": np.__version__, "llvmlite": llvmlite.__version__,
            "isa": isa.available()}


def install(folder: Path) -> None:
    """Make the peers' environments."""
    for name, packages in PEERS.items():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        done = subprocess.run([str(folder / name / "bin" / "python"), "-m", "pip", "install", "-q", *packages])
        print(f"{name}: {'installed' if done.returncode == 0 else 'cannot be installed here'}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: times faster than torch eager, and ours over the best dense engine."""
    labels = list(dict.fromkeys(label for row in rows for label in row["engines"] if label != "torch eager"))
    heads = ["net", "threads", "batch", "sparsity", "eager", *labels, "best dense", "secateur over it"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        ratios = [f"{row['engines'][e]['over_eager']:.2f}" if e in row["engines"] else "-" for e in labels]
        ours = row["engines"].get("secateur", {}).get("over_best_dense")
        lines.append(f"| {row['net']} | {row['threads']} | {row['batch']} | {row['sparsity']:.0%} | "
                     f"{row['engines']['torch eager']['median'] * 1e6:.0f} µs | " + " | ".join(ratios)
                     + f" | {row['best_dense']} | " + (f"**{ours:.2f}** |" if ours else "- |"))
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="mlp")
    parser.add_argument("--batches", default="1,2,8,16,64,256,1024")
    parser.add_argument("--sparsity", default="0,0.5,0.7,0.8,0.9,0.95,0.98")
    parser.add_argument("--engines", default="torch eager,torch oneDNN,torch CSR,secateur,secateur avx2")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--peers-folder", type=Path, default=Path.home() / ".cache" / "secateur" / "peers")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.03, help="of a block of calls")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runtime.json"))
    parser.add_argument("--show", action="store_true", help="only print the table of the file")
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for."""
    args = arguments()
    if args.install:
        return install(args.peers_folder)
    result = json.loads(args.out.read_text()) if args.out.exists() else {"rows": []}
    if args.show:
        return print(table(result["rows"]))
    torch.set_num_threads(args.threads)
    engines: dict[str, Any] = {e: ENGINES[e] for e in args.engines.split(",")}
    for name in (p for p in args.peers.split(",") if p):
        try:
            engines[name] = Peer(name, args.peers_folder, args.threads)
        except FileNotFoundError as absent:
            print(f"{name}: {absent}")
    result["machine"] = machine()
    for net in args.nets.split(","):
        for sparsity in map(float, args.sparsity.split(",")):
            for batch in map(int, args.batches.split(",")):
                key = {"net": net, "sparsity": sparsity, "batch": batch, "threads": args.threads}
                with torch.no_grad():
                    row = key | case(net, sparsity, batch, engines, args.seconds, args.rounds)
                summary(row)
                result["rows"] = [r for r in result["rows"] if any(r[k] != v for k, v in key.items())] + [row]
                args.out.write_text(json.dumps(result, indent=1))
                print(table([row]).splitlines()[-1], row["problems"] or "", flush=True)
    return None


if __name__ == "__main__":
    main()
