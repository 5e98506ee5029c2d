"""The engines of ``benchmarks/runtime.py``: those of this process, and those that run in processes of their own."""

from __future__ import annotations

import copy
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nets import padded
from ratios import BF16, INT8
from torch import nn
from torch.utils import mkldnn

from secateur import runtime
from secateur.measure.latency import samples

Timer = Callable[[float], float]
Call = Callable[[torch.Tensor], Any]

LINEAR = (nn.Linear, nn.ReLU)


def timed(call: Callable[[], Any], seconds: float) -> float:
    """The median of the calls that fit into some seconds, after one that does not count."""
    return statistics.median(samples(call, seconds))


class InProcess:
    """An engine in this process, made by a function of network and inputs; with ``only``, for such layers alone."""

    def __init__(self, make: Callable[[nn.Sequential, torch.Tensor], Call], only: tuple[type, ...] = ()):
        self.make, self.only = make, only

    def open(self, net: nn.Sequential, x: torch.Tensor) -> tuple[np.ndarray, Timer, str]:
        """Outputs, a timer, the version."""
        if self.only and not all(isinstance(m, self.only) for m in net):
            raise ValueError("linear layers only")
        call = self.make(net, x)
        return np.asarray(call(x)), lambda seconds: timed(lambda: call(x), seconds), torch.__version__


def onednn(net: nn.Sequential, x: torch.Tensor) -> Call:
    """torch with prepacked oneDNN layers, conversions included."""
    del x
    fast = mkldnn.to_mkldnn(copy.deepcopy(net))
    return lambda x: fast(x.to_mkldnn()).to_dense()


def scipy_csr(net: nn.Sequential, x: torch.Tensor) -> Call:
    """scipy CSR products on feature-major activations, both transpositions included."""
    import scipy.sparse

    del x
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


@functools.cache
def compiled(layers: str) -> tuple[list[nn.Sequential], Call]:
    """A holder for a network of some layers and the compiled call of what it holds; kept, as it takes seconds."""
    del layers
    held: list[nn.Sequential] = []
    return held, torch.compile(lambda x: held[0](x), dynamic=False)


def torch_compile(net: nn.Sequential, x: torch.Tensor) -> Call:
    """torch.compile with default settings, for this shape; another sparsity only gets other weights."""
    torch._dynamo.config.recompile_limit = 64
    held, call = compiled(str(net))
    if held:
        held[0].load_state_dict(net.state_dict())
    else:
        held.append(copy.deepcopy(net))
    call(x)
    return call


ENGINES = {
    "torch eager": InProcess(lambda net, _: net),
    "torch oneDNN": InProcess(onednn),
    "torch.compile": InProcess(torch_compile),
    "torch CSR": InProcess(lambda net, x: runtime.compile(net, x, engine="csr"), only=LINEAR),
    "scipy CSR": InProcess(scipy_csr, only=LINEAR),
    "secateur": InProcess(lambda net, x: runtime.compile(net, x)),
    "secateur avx2": InProcess(lambda net, x: runtime.compile(net, x, isa="avx2")),
}

PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "deepsparse": "deepsparse", "mkl sparse": "mkl",
         "tensorflow": "tensorflow", "tf.sparse": "tensorflow", "litert": "litert", "litert sparse": "litert",
         **dict.fromkeys((*INT8, *BF16), "")}
"""Engines in processes of their own, and the environment that each needs; empty: secateur's own."""
WRONG, TOO_FAR = 1e-4, 0.15
"""Outputs in float32 are wrong where their largest error, as a fraction of the largest output, is above the first; in
less precision where the norm of the error, as a fraction of the outputs', is above the second."""

PACKAGES = {"onnxruntime": ["onnxruntime", "onnx"], "openvino": ["openvino", "onnx"],
            "deepsparse": ["deepsparse==1.8.0", "numpy==1.26.4", "onnx==1.14.1"], "mkl": ["mkl", "numpy"],
            "tensorflow": ["tensorflow-cpu"], "litert": ["ai-edge-litert", "numpy"]}


class Peer:
    """An engine in a process of its own, started when it is first needed."""

    def __init__(self, name: str, folder: Path, threads: int):
        self.name, self.threads, home = name, threads, folder / PEERS[name]
        if not PEERS[name]:
            self.python = Path(sys.executable)
            return
        self.python, failed = home / "bin" / "python", folder / f"{PEERS[name]}.failed"
        if failed.exists():
            raise FileNotFoundError(failed.read_text())
        if not self.python.exists():
            raise FileNotFoundError("not installed")

    @functools.cached_property
    def process(self) -> subprocess.Popen[str]:
        """The running process."""
        script = Path(__file__).parent / "peers" / "serve.py"
        count = str(self.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "NM_DISABLE_ANALYTICS": "True",
                       "KMP_BLOCKTIME": "5", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen([str(self.python), str(script), self.name, count], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    def ask(self, **order: Any) -> dict[str, Any]:
        """One order, one answer; a process that ended is started again at the next order."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            del self.process
            raise RuntimeError("its process ended")
        answer: dict[str, Any] = json.loads(line)
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


def opened(label: str, engine: Any, net: nn.Sequential, x: torch.Tensor,
           exact: np.ndarray) -> tuple[Timer, dict[str, Any]]:
    """A timer of an engine whose outputs are right, and what to note of it.

    DeepSparse gets a second chance with hidden widths that are multiples of 16, where it is right more often.
    """
    out, timer, version = engine.open(net, x)
    note: dict[str, Any] = {"version": version}
    if label == "deepsparse" and not error_of(out, exact) < WRONG and all(isinstance(m, LINEAR) for m in net):
        out, timer, version = engine.open(padded(net), x)
        note["note"] = "wrong as it is; hidden widths padded to multiples of 16"
    rounded = label in (*INT8, *BF16)
    error, allowed = (distance_of(out, exact), TOO_FAR) if rounded else (error_of(out, exact), WRONG)
    if not error < allowed:
        raise RuntimeError(f"wrong outputs, relative error {error:.1e}")
    return timer, note | {"error": float(f"{error:.2e}")}


def error_of(out: np.ndarray, exact: np.ndarray) -> float:
    """The largest error, relative to the largest output."""
    return float(np.abs(out - exact).max() / np.abs(exact).max())


def distance_of(out: np.ndarray, exact: np.ndarray) -> float:
    """The norm of the error, relative to that of the outputs."""
    return float(np.linalg.norm(out - exact) / np.linalg.norm(exact))


def install(folder: Path) -> None:
    """Make the environments that are not there; a package that cannot be installed leaves its reason."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, packages in PACKAGES.items():
        if (folder / name).exists():
            print(f"{name}: there")
            continue
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        python = str(folder / name / "bin" / "python")
        done = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            (folder / f"{name}.failed").write_text(f"cannot be installed: {(lines or ['pip failed'])[-1][:200]}")
        print(f"{name}: {'cannot be installed here' if done.returncode else 'installed'}")
