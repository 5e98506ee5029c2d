"""The engines that read ONNX: ONNX Runtime, OpenVINO, DeepSparse."""

import tempfile

import numpy as np


def onnx_bytes(layers, weights, shape):
    """The network as an ONNX model with an open batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    for k, layer in enumerate(layers):
        inputs = [value]
        for name in (n for n in ("weight", "bias") if f"{k}.{n}" in weights):
            constants.append(numpy_helper.from_array(weights[f"{k}.{name}"], f"{k}.{name}"))
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


def onnxruntime(layers, weights, x, threads):
    """ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = onnx_bytes(layers, weights, x.shape[1:])
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (lambda: session.run(None, {"x": x})[0]), ort.__version__


def openvino(layers, weights, x, threads):
    """OpenVINO in f32, tuned for the latency of one call at a time, as the engine of ``secateur bench`` is."""
    import openvino as ov

    core = ov.Core()
    net = core.read_model(onnx_bytes(layers, weights, x.shape[1:]))
    net.reshape({"x": list(x.shape)})
    # Threads that are tied to cores wait for theirs where the machine does anything else.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
               "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    request = core.compile_model(net, "CPU", options).create_infer_request()
    return (lambda: request.infer([x], share_inputs=True)[0]), ov.__version__


def deepsparse(layers, weights, x, threads):
    """DeepSparse."""
    import deepsparse as ds

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(onnx_bytes(layers, weights, x.shape[1:]))
        file.flush()
        engine = ds.Engine(file.name, batch_size=len(x), num_cores=threads)
    return (lambda: engine.run([x], val_inp=False)[0]), ds.__version__
