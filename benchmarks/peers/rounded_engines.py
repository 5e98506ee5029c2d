"""The engines of ``secateur bench`` in int8 and bfloat16: each by its fastest way, as the command runs it.

Unlike the other peers they run in the environment of secateur itself.
"""

import copy
import tempfile
from pathlib import Path

import torch
from torch import nn

from secateur.bench.ways import convert_ways, fastest_ways
from secateur.core import registry

SAMPLES = 64
"""Random inputs that ranges of int8 are taken from."""


def built(layers, weights):
    """The network in torch."""
    made = []
    for k, layer in enumerate(layers):
        arrays = [torch.from_numpy(weights[f"{k}.{n}"]) for n in ("weight", "bias") if f"{k}.{n}" in weights]
        if layer["kind"] == "linear":
            made.append(nn.Linear(*reversed(arrays[0].shape), bias=len(arrays) > 1))
        elif layer["kind"] == "conv":
            count, inputs, *size = arrays[0].shape
            made.append(nn.Conv2d(inputs * layer["groups"], count, size, layer["stride"], layer["padding"],
                                  groups=layer["groups"], bias=len(arrays) > 1))
        else:
            made.append({"relu": nn.ReLU, "pool": lambda: nn.MaxPool2d(2), "flatten": nn.Flatten}[layer["kind"]]())
        for parameter, array in zip(made[-1].parameters(), arrays, strict=True):
            parameter.data = array
    return nn.Sequential(*made).eval()


def engine_of(name):
    """The function that ``serve.py`` calls, for an engine's name."""
    def make(layers, weights, x, threads):
        torch.set_num_threads(threads)
        engine, network, inputs = registry.get("engines", name)(), built(layers, weights), (torch.from_numpy(x),)
        if reasons := engine.refusals():
            raise RuntimeError("; ".join(reasons))
        samples = (torch.randn(SAMPLES, *x.shape[1:], generator=torch.Generator().manual_seed(0)),)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            files, errors = convert_ways(engine, network, samples, Path(folder))
            if not files:
                raise RuntimeError("; ".join(errors))
            calls = {way: engine.prepare(file or copy.deepcopy(network), inputs, threads, way)
                     for way, file in files.items()}
            call = calls[fastest_ways(calls.__getitem__, calls, {len(x): inputs})[len(x)]]

        @torch.inference_mode()
        def run():
            outputs = call(inputs)
            return outputs.numpy() if isinstance(outputs, torch.Tensor) else outputs[0]

        return run, engine.version()

    return make


onnxruntime_int8, openvino_int8 = engine_of("onnxruntime-int8"), engine_of("openvino-int8")
openvino_bf16, torch_bf16 = engine_of("openvino-default"), engine_of("torch-bf16")
