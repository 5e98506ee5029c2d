"""One other inference engine in a process of its own, told over stdin what to build, run and time.

Run by ``benchmarks/runtime.py`` with the Python of an environment that holds the engine. It must not
import anything but the engine, numpy and, for some, onnx; those of ``rounded_engines`` run with secateur's own Python.
"""

import importlib
import json
import statistics
import sys
import time

import numpy as np

ENGINES = {"onnxruntime": "onnx_engines:onnxruntime", "openvino": "onnx_engines:openvino",
           "deepsparse": "onnx_engines:deepsparse", "mkl sparse": "mkl_engine:sparse",
           "tensorflow": "tensorflow_engines:dense", "tf.sparse": "tensorflow_engines:sparse",
           "litert": "litert_engines:dense", "litert sparse": "litert_engines:sparse",
           "onnxruntime int8": "rounded_engines:onnxruntime_int8", "openvino int8": "rounded_engines:openvino_int8",
           "openvino bf16": "rounded_engines:openvino_bf16", "torch bf16": "rounded_engines:torch_bf16"}
"""A function of layers, weights, example and threads in each; it gives a call of no arguments and a version."""


def serve(name, threads):
    """Answer one line of JSON with one line of JSON, until the input ends."""
    call, out = None, sys.stdout
    sys.stdout = sys.stderr
    module, _, function = ENGINES[name].partition(":")
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "build" in order:
                call = None
                make = getattr(importlib.import_module(module), function)
                call, version = make(order["layers"], dict(np.load(order["build"])), np.load(order["inputs"]), threads)
                np.save(order["outputs"], call())
                answer = {"version": str(version)}
            else:
                answer = {"seconds": timed(call, order["seconds"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def timed(call, seconds):
    """The median of the calls that fit into some seconds, after one or two that do not count."""
    start = time.perf_counter()
    call()
    if time.perf_counter() - start < seconds / 4:
        call()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
