"""One other inference engine in a process of its own, told over stdin what to build, run and time.

Run by ``benchmarks/runtime.py`` with the Python of an environment that holds the engine. It must not
import anything but the engine, numpy and onnx.
"""

import json
import statistics
import sys
import time

import numpy as np


def onnx_bytes(layers, weights, shape):
    """The network as an ONNX model with an open batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    for k, layer in enumerate(layers):
        inputs = [value]
        for name in (n for n in ("weight", "bias") if f"{k}.{n}" in weights):
            array = weights[f"{k}.{name}"]
            constants.append(numpy_helper.from_array(array, f"{k}.{name}"))
            inputs.append(f"{k}.{name}")
        kind, out = layer["kind"], f"v{k}"
        if kind == "linear" and len(inputs) == 2:
            constants[-1] = numpy_helper.from_array(np.ascontiguousarray(weights[f"{k}.weight"].T), f"{k}.weight")
            nodes.append(helper.make_node("MatMul", inputs, [out]))
        elif kind == "linear":
            nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))
        elif kind == "conv":
            nodes.append(helper.make_node("Conv", inputs, [out], pads=[layer["padding"]] * 4,
                                          strides=[layer["stride"]] * 2, group=layer["groups"]))
        elif kind == "pool":
            nodes.append(helper.make_node("MaxPool", inputs, [out], kernel_shape=[2, 2], strides=[2, 2]))
        else:
            nodes.append(helper.make_node({"relu": "Relu", "flatten": "Flatten"}[kind], inputs, [out]))
        value = out
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def onnxruntime(model, batch, threads):
    """ONNX Runtime."""
    del batch
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (lambda x: session.run(None, {"x": x})[0]), ort.__version__


def openvino(model, batch, threads):
    """OpenVINO in f32."""
    import openvino as ov

    core = ov.Core()
    net = core.read_model(model)
    net.reshape({"x": [batch, *list(net.input(0).partial_shape)[1:]]})
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1"}
    request = core.compile_model(net, "CPU", options).create_infer_request()
    return (lambda x: request.infer([x], share_inputs=True)[0]), ov.__version__


def deepsparse(model, batch, threads):
    """DeepSparse."""
    import tempfile

    import deepsparse as ds

    file = tempfile.NamedTemporaryFile(suffix=".onnx", delete=False)  # noqa: SIM115
    file.write(model)
    file.close()
    engine = ds.Engine(file.name, batch_size=batch, num_cores=threads)
    return (lambda x: engine.run([x], val_inp=False)[0]), ds.__version__


def serve(name, threads):
    """Answer one line of JSON with one line of JSON, until the input ends."""
    call, x = None, None
    out = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "build" in order:
                weights, x = dict(np.load(order["build"])), np.load(order["inputs"])
                model = onnx_bytes(order["layers"], weights, x.shape[1:])
                call, version = globals()[name](model, len(x), threads)
                np.save(order["outputs"], call(x))
                answer = {"version": str(version)}
            else:
                answer = {"seconds": timed(call, x, order["seconds"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def timed(call, x, seconds):
    """The median of the calls that fit into some seconds, after two that do not count."""
    call(x), call(x)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
