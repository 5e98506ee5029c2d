"""Every kernel and its slow twin under the same tests, for every instruction set of this machine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from support import every

from secateur.runtime import reference
from secateur.runtime.codegen import isa as isas
from secateur.runtime.execute import runner
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.schedule.build import build, widths
from secateur.runtime.schedule.candidates import candidates

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")
NAMES = isas.available()
WIDTHS = {name: widths(isa, Segment((), (), ())) for name, isa in isas.ISAS.items()}


@pytest.fixture(autouse=True)
def _one_thread(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    torch.set_num_threads(1)


def chain(sizes: list[int], sparsity: float, bias: bool, seed: int = 0) -> Segment:
    rng = np.random.default_rng(seed)
    values = [Value(k, (n,)) for k, n in enumerate(sizes)]
    ops = []
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = rng.standard_normal((b, a), np.float32) * (rng.random((b, a)) >= sparsity)
        ops.append(Op("linear", f"layer{k}", (values[k],), values[k + 1], weight.astype(np.float32),
                      rng.standard_normal(b, np.float32) if bias else None, "relu" if k + 2 < len(sizes) else "none"))
    return Segment((values[0],), tuple(ops), (values[-1],))


def truth(segment: Segment, x: np.ndarray) -> np.ndarray:
    y = x.astype(np.float64)
    for op in segment.ops:
        y = y @ op.weight.T.astype(np.float64) + (0 if op.bias is None else op.bias)
        y = np.maximum(y, 0) if op.act == "relu" else y
    return y


def kernels(program, x, y):
    return runner.run(program, [x.ctypes.data, y.ctypes.data], 0, len(x), 1, split=False)


def slow(program, x, y):
    return reference.run(program, [x, y], len(x))


def cases():
    for name in NAMES:
        for width in WIDTHS[name]:
            for which in range(6):
                yield name, width, which


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize(("name", "width", "which"), every(5, cases()))
def test_a_chain_equals_float64(name, width, which, go):
    isa = isas.ISAS[name]
    sizes = [[5, 3], [17, 16, 15], [1, 1], [33, 64, 7], [70, 31, 20, 2], [3, 40]][which]
    segment = chain(sizes, [0.0, 0.5, 0.9, 0.3, 0.75, 1.0][which], bias=which % 2 == 0, seed=which)
    picks = iter(range(9))
    program = build(segment, width, isa, lambda op, options: options[next(picks) % len(options)])
    rng = np.random.default_rng(which)
    for rows in (1, width, width + 1):
        x = rng.standard_normal((rows, sizes[0]), np.float32)
        y = np.full((rows, sizes[-1]), np.nan, np.float32)
        assert not go(program, x, y)
        np.testing.assert_allclose(y, truth(segment, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [4, 8, 100])
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.8, 1.0])
def test_every_candidate_leaves_the_same_arena_as_its_twin(name, block, sparsity):
    from dataclasses import replace

    isa = isas.ISAS[name]
    for width in WIDTHS[isa.name]:
        segment = chain([21, 19], sparsity, bias=True)
        lanes = min(width, isa.lanes)
        for option in candidates(segment.ops[0], lanes, width // lanes, isa):
            chosen = option if width == 1 else replace(option, block=min(block, 21))
            program = build(segment, width, isa, lambda op, options, c=chosen: c, parts=2)
            x = np.random.default_rng(1).standard_normal((width, 21), np.float32)
            fast, twin = np.zeros((width, 19), np.float32), np.zeros((width, 19), np.float32)
            assert kernels(program, x, fast) == slow(program, x, twin)
            np.testing.assert_allclose(fast, twin, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity_raise_the_flag(name, bad, go):
    for width, where in itertools.product(WIDTHS[name], ("input", "weight", "bias")):
        segment = chain([9, 6, 4], 0.5, bias=True)
        x = np.ones((width, 9), np.float32)
        if where == "input":
            x[-1, 7] = bad
        elif where == "weight":
            segment.ops[0].weight[3, 2] = bad
        else:
            segment.ops[0].bias[1] = bad
        program = build(segment, width, isas.ISAS[name], lambda op, options: options[0])
        assert go(program, x, np.zeros((width, 4), np.float32))
        assert not go(build(chain([9, 6, 4], 0.5, True), width, isas.ISAS[name], lambda op, o: o[0]),
                      np.ones((width, 9), np.float32), np.zeros((width, 4), np.float32))


@pytest.mark.parametrize("isa", ["avx512", "avx2", "neon"])
def test_code_for_every_instruction_set_is_generated(isa):
    from secateur.runtime.codegen import jit
    from secateur.runtime.codegen.kernels.driver import Driver
    from secateur.runtime.codegen.kernels.gather import Gather
    from secateur.runtime.codegen.kernels.spmm import Spmm
    from secateur.runtime.codegen.kernels.transpose import Enter, Leave

    target = isas.ISAS[isa]
    mark = {"avx512": "zmm", "avx2": "ymm", "neon": "fmla"}[isa]
    product = Spmm(lanes=target.lanes, tiles=2, rows=4, grouped=True, unit=target.lanes * 8, bias=True, act="relu")
    assert mark in jit.assembly(product.text("f", target), target)
    for spec in (Gather(target.lanes, True, "relu"), Enter(target.lanes, 2), Leave(target.lanes, 4), Driver()):
        assert len(jit.emit(spec.text("f", target), target)) > 500


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_tiles_and_rows(threads):
    torch.set_num_threads(threads)
    isa = isas.pick()
    segment = chain([50, 40, 30], 0.7, bias=True)
    for width, split in itertools.product(WIDTHS[isa.name], (False, True)):
        program = build(segment, width, isa, lambda op, options: options[0], parts=threads)
        x = np.random.default_rng(0).standard_normal((3 * width + 1, 50), np.float32)
        y = np.zeros((len(x), 30), np.float32)
        runner.run(program, [x.ctypes.data, y.ctypes.data], 0, len(x), threads, split)
        np.testing.assert_allclose(y, truth(segment, x), rtol=1e-4, atol=1e-5)
    torch.set_num_threads(1)


def test_hand_solved():
    weight = np.array([[0, 2, 0], [1, 0, -1]], np.float32)
    values = Value(0, (3,)), Value(1, (2,))
    segment = Segment(values[:1], (Op("linear", "l", values[:1], values[1], weight, np.array([10, 20], np.float32)),),
                      values[1:])
    for name in NAMES:
        for width in WIDTHS[name]:
            program = build(segment, width, isas.ISAS[name], lambda op, options: options[0])
            y = np.zeros((2, 2), np.float32)
            kernels(program, np.array([[1, 2, 3], [0, 1, 0]], np.float32), y)
            assert y.tolist() == [[14, 18], [12, 20]]


ACTS = sorted(reference.ACTIVATIONS)


@pytest.mark.parametrize("go", [kernels, slow])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", NAMES)
def test_activations_and_sums(name, act, go):
    label = "leaky_relu:0.125" if act == "leaky_relu" else act
    values = tuple(Value(k, (37,)) for k in range(3))
    ops = (Op("act", "a", values[:1], values[1], act=label), Op("add", "b", values[:2], values[2], act="relu"))
    segment = Segment(values[:1], ops, values[1:])
    for width in (1, 8, 64):
        program = build(segment, width, isas.ISAS[name], lambda op, options: options[0])
        x = np.linspace(-9, 9, width * 37, dtype=np.float32).reshape(width, 37)
        x[0, :4] = 0, -0.0, 80, -100
        y, z = np.zeros_like(x), np.zeros_like(x)
        assert not go_two(program, x, y, z, go)
        wanted = reference.activate(label, x)
        np.testing.assert_allclose(y, wanted, rtol=3e-6, atol=1e-6)
        np.testing.assert_allclose(z, np.maximum(x + wanted, 0), rtol=1e-5, atol=1e-6)


def go_two(program, x, y, z, go):
    if go is slow:
        return reference.run(program, [x, y, z], len(x))
    return runner.run(program, [a.ctypes.data for a in (x, y, z)], 0, len(x), 1, split=False)
