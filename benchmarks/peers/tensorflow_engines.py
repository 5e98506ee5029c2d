"""TensorFlow: dense layers, ``tf.sparse.sparse_dense_matmul``, and LiteRT files written by its converter.

As a program it converts: ``tensorflow_engines.py build.npz layers.json sparse out.tflite``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def dense(layers, weights, x, threads):
    """The network as one compiled function; inputs channels-last, as TensorFlow has them."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    run = tf.function(function(layers, weights, x.shape[1:]))
    held = tf.constant(channels_last(x))

    def call():
        return run(held).numpy()

    return (lambda: channels_first(call())) if x.ndim == 4 and call().ndim == 4 else call, tf.__version__


def sparse(layers, weights, x, threads):
    """Linear chains as products with sparse tensors on feature-major activations, transpositions included."""
    if any(layer["kind"] not in ("linear", "relu") for layer in layers):
        raise ValueError("linear layers only")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    steps = []
    for k, layer in enumerate(layers):
        bias = weights.get(f"{k}.bias")
        steps.append((tf.sparse.from_dense(weights[f"{k}.weight"]), None if bias is None else bias[:, None])
                     if layer["kind"] == "linear" else None)

    @tf.function
    def run(x):
        value = tf.transpose(x)
        for step in steps:
            if step is None:
                value = tf.nn.relu(value)
            else:
                value = tf.sparse.sparse_dense_matmul(step[0], value)
                value = value if step[1] is None else value + step[1]
        return tf.transpose(value)

    held = tf.constant(x)
    return (lambda: run(held).numpy()), tf.__version__


def channels_last(x):
    """Images with their channels last, anything else as it is."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x


def channels_first(x):
    """Back again."""
    return np.moveaxis(x, -1, 1)


def function(layers, weights, shape):
    """The network as a function of a channels-last tensor."""
    steps, shape = [], (1, *shape)
    for k, layer in enumerate(layers):
        weight, bias = weights.get(f"{k}.weight"), weights.get(f"{k}.bias")
        step, shape = STEPS[layer["kind"]](layer, weight, bias, shape)
        steps.append(step)

    def run(x):
        for step in steps:
            x = step(x)
        return x

    return run


def linear(_, weight, bias, shape):
    """A dense layer; behind a flattened image its columns are put into channels-last order."""
    if len(shape) == 5:
        weight = weight.reshape(-1, *shape[2:]).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    matrix = tf.constant(np.ascontiguousarray(weight.T))
    return (lambda x: biased(tf.matmul(x, matrix), bias)), (1, len(weight))


def conv(layer, weight, bias, shape):
    """A convolution, depthwise where every channel is a group."""
    stride, pad, groups = layer["stride"], layer["padding"], layer["groups"]
    if groups not in (1, shape[1]):
        raise ValueError("groups")
    kernel = weight.transpose(2, 3, 0, 1) if groups > 1 else weight.transpose(2, 3, 1, 0)
    kernel = tf.constant(np.ascontiguousarray(kernel))
    same = stride == 1 and weight.shape[2] == 2 * pad + 1
    operator = tf.nn.depthwise_conv2d if groups > 1 else tf.nn.conv2d

    def run(x):
        if pad and not same:
            x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return biased(operator(x, kernel, [1, stride, stride, 1], "SAME" if same else "VALID"), bias)

    sizes = ((n + 2 * pad - weight.shape[2]) // stride + 1 for n in shape[2:])
    return run, (1, len(weight), *sizes)


def biased(x, bias):
    """With the bias, where there is one."""
    return x if bias is None else tf.nn.bias_add(x, bias)


def pool(_, __, ___, shape):
    """2x2 maxima."""
    return (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")), (1, shape[1], shape[2] // 2, shape[3] // 2)


def flatten(_, __, ___, shape):
    """Images to rows; the shape keeps its axes, with one more in front, for the layer behind."""
    size = int(np.prod(shape[1:]))
    return (lambda x: tf.reshape(x, [-1, size])), (1, *shape)


def relu(_, __, ___, shape):
    """The activation."""
    return tf.nn.relu, shape


STEPS = {"linear": linear, "conv": conv, "pool": pool, "flatten": flatten, "relu": relu}


def convert(layers, weights, shape, sparse):
    """The bytes of a LiteRT model with an open batch; ``sparse`` asks the converter to encode zeros."""
    last = (*shape[1:], shape[0]) if len(shape) == 3 else tuple(shape)
    signature = [tf.TensorSpec((None, *last), tf.float32)]
    concrete = tf.function(function(layers, weights, shape), input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if sparse:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter.convert()


if __name__ == "__main__":
    build, plan, zeros, target = sys.argv[1:]
    wanted = json.loads(Path(plan).read_text())
    model = convert(wanted["layers"], dict(np.load(build)), wanted["shape"], zeros == "sparse")
    Path(target).write_bytes(model)
