"""LiteRT with XNNPACK, on files that TensorFlow's converter wrote: dense, or with the zeros encoded."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np


def dense(layers, weights, x, threads):
    """Weights as they are."""
    return interpreter(model(layers, weights, x.shape[1:], "dense"), x, threads)


def sparse(layers, weights, x, threads):
    """Weights sparse-encoded where the converter does so."""
    return interpreter(model(layers, weights, x.shape[1:], "sparse"), x, threads)


def model(layers, weights, shape, kind):
    """The path of the converted network; it is kept beside the environment, as converting takes seconds."""
    digest = hashlib.sha256(json.dumps([layers, list(shape), kind]).encode())
    for name in sorted(weights):
        digest.update(weights[name].tobytes())
    folder = Path(sys.prefix) / "models"
    folder.mkdir(exist_ok=True)
    path = folder / f"{digest.hexdigest()[:16]}.tflite"
    if not path.exists():
        converted(layers, weights, shape, kind, path)
    return str(path)


def converted(layers, weights, shape, kind, path):
    """Let the TensorFlow of the environment beside this one convert."""
    python = Path(sys.prefix).parent / "tensorflow" / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError("needs the tensorflow environment, to convert")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/build.npz", **weights)
        Path(f"{folder}/plan.json").write_text(json.dumps({"layers": layers, "shape": list(shape)}))
        script = Path(__file__).with_name("tensorflow_engines.py")
        done = subprocess.run([str(python), str(script), f"{folder}/build.npz", f"{folder}/plan.json", kind,
                               f"{folder}/out.tflite"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"conversion: {done.stderr.strip().splitlines()[-1][:200]}")
        os.replace(f"{folder}/out.tflite", path)


def interpreter(path, x, threads):
    """The call; inputs channels-last, given before the timing starts as they would be in use."""
    from ai_edge_litert.interpreter import Interpreter

    engine = Interpreter(path, num_threads=threads)
    inputs, outputs = engine.get_input_details()[0]["index"], engine.get_output_details()[0]["index"]
    held = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x
    engine.resize_tensor_input(inputs, held.shape)
    engine.allocate_tensors()

    def call():
        engine.set_tensor(inputs, held)
        engine.invoke()
        return engine.get_tensor(outputs)

    if call().ndim == 4:
        return (lambda: np.moveaxis(call(), -1, 1)), version("ai-edge-litert")
    return call, version("ai-edge-litert")
