"""No kernel reads or writes outside its buffers: guard pages lie right before and right after each of them.

A fault kills the process, so the checks run in a child.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import subprocess
import sys

import numpy as np
import pytest

from secateur.runtime.codegen import isa as isas

LINUX = sys.platform.startswith("linux")


class Guarded:
    """Copies arrays into memory between two pages that may not be touched."""

    def __init__(self, at_end: bool):
        self.at_end, self.kept = at_end, []
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __call__(self, array):
        page = mmap.PAGESIZE
        pages = max(1, -(-array.nbytes // page))
        memory = mmap.mmap(-1, (pages + 2) * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for guard in (start, start + (pages + 1) * page):
            assert self.libc.mprotect(ctypes.c_void_p(guard), page, 0) == 0
        offset = page + (pages * page - array.nbytes if self.at_end else 0)
        copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
        copy[...] = array
        self.kept.append(memory)
        return copy


def chain(sizes, sparsity, guard):
    from secateur.runtime.ops import Op, Segment, Value

    rng = np.random.default_rng(0)
    values = [Value(k, (n,)) for k, n in enumerate(sizes)]
    ops = []
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = (rng.standard_normal((b, a)) * (rng.random((b, a)) >= sparsity)).astype(np.float32)
        ops.append(Op("linear", f"l{k}", (values[k],), values[k + 1], weight,
                      guard(rng.standard_normal(b).astype(np.float32)), "relu"))
    return Segment((values[0],), tuple(ops), (values[-1],))


def planes(guard):
    from secateur.runtime.ops import Op, Segment, Value

    rng = np.random.default_rng(1)
    x, h, p, y = Value(0, (3, 7, 9)), Value(1, (5, 7, 9)), Value(2, (5, 3, 4)), Value(3, (6, 2, 2))

    def weight(*shape):
        return (rng.standard_normal(shape) * (rng.random(shape) >= 0.6)).astype(np.float32)

    one = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    ops = (Op("conv", "a", (x,), h, weight(5, 3, 3, 3), guard(weight(5)), "relu", one),
           Op("pool", "b", (h,), p, settings={"kind": "max", "window": (2, 2), "stride": (2, 2), "padding": (0, 0),
                                               "with_padding": False}),
           Op("conv", "c", (p,), y, weight(6, 5, 3, 3), None, "none", {**one, "stride": (2, 2)}))
    return Segment((x,), ops, (y,))


def rows(guard):
    from secateur.runtime.ops import Op, Segment, Value

    rng = np.random.default_rng(2)
    values = [Value(k, (37,)) for k in range(6)]
    scale, shift = (guard(rng.standard_normal(37).astype(np.float32)) for _ in range(2))
    ops = (Op("norm", "a", (values[0],), values[1], settings={"scale": scale, "shift": shift, "eps": 1e-5}),
           Op("affine", "b", (values[1],), values[2], settings={"factor": scale, "offset": shift}),
           Op("mul", "c", (values[1], values[2]), values[3], act="relu"),
           Op("softmax", "d", (values[3],), values[4]))
    return Segment((values[0],), ops, (values[4],))


def joined(guard):
    from secateur.runtime.ops import Op, Segment, Value

    x, y, p, z = Value(0, (3, 5, 7)), Value(1, (3, 5, 7)), Value(2, (3, 1, 1)), Value(3, (3, 5, 7))
    factor = guard(np.array([1, 2, 3], np.float32))
    window = {"kind": "avg", "window": (5, 7), "stride": (5, 7), "padding": (0, 0), "with_padding": True}
    ops = (Op("affine", "a", (x,), y, settings={"factor": factor, "offset": factor}),
           Op("pool", "b", (y,), p, settings=window), Op("mul", "c", (p, y), z))
    return Segment((x,), ops, (z,))


def child() -> None:
    """Run every candidate of every instruction set between guard pages."""
    from dataclasses import replace

    from secateur.runtime import reference
    from secateur.runtime.execute import runner
    from secateur.runtime.schedule import build as building
    from secateur.runtime.schedule import build_planes, build_tiles
    from secateur.runtime.schedule import program as programs
    from secateur.runtime.schedule.candidates import Candidate

    original, room, bias, spread = Candidate.pack, programs.aligned_zeros, build_tiles.pad_bias, build_tiles.spread
    for at_end in (False, True):
        guard = Guarded(at_end)
        Candidate.pack = lambda *a, g=guard: replace(p := original(*a), table=g(p.table), heads=g(p.heads),
                                                     stream=g(p.stream))
        build_tiles.pad_bias = lambda b, g=guard: None if b is None else g(bias(b))
        build_tiles.spread = build_planes.spread = lambda op, planes, g=guard: [g(a) for a in spread(op, planes)]
        runner.aligned_zeros = lambda size, g=guard: g(room(size))
        nets = ([1, 1], 0), ([33, 17, 3], 0.5), ([65, 16], 0.9), ([20, 15, 64], 1)
        segments = [chain(sizes, sparsity, guard) for sizes, sparsity in nets]
        for name in isas.available():
            for segment in [*segments, planes(guard), rows(guard), joined(guard)]:
                for width in building.widths(isas.ISAS[name], segment):
                    for pick in range(4):
                        built = building.build(segment, width, isas.ISAS[name], lambda _, o, k=pick: o[k % len(o)], 2)
                        run(built, segment, guard, reference, runner)
    print("within bounds")


def run(built, segment, guard, reference, runner) -> None:
    for count in (1, built.width + 1):
        x = guard(np.random.default_rng(2).standard_normal((count, *segment.inputs[0].shape)).astype(np.float32))
        y = guard(np.zeros((count, *segment.outputs[0].shape), np.float32))
        runner.run(built, [x.ctypes.data, y.ctypes.data], 0, count, 1, False)
        if count == 1 and built.width < 16:
            twin = np.zeros_like(y)
            reference.run(built, [x, twin], count)
            np.testing.assert_allclose(y, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not LINUX or not isas.available(), reason="needs mprotect, and an instruction set of llvmlite's")
def test_guard_pages_are_never_touched(tmp_path_factory):
    import os

    cache = str(tmp_path_factory.getbasetemp() / "kernels")
    environment = {**os.environ, "SECATEUR_CACHE": cache, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "within bounds"


@pytest.mark.skipif(not LINUX, reason="needs mprotect")
def test_the_guard_itself_works():
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import numpy as np, test_runtime_bounds as t, ctypes;"
            "a = t.Guarded(True)(np.zeros(4, np.float32)); ctypes.c_float.from_address(a.ctypes.data + 16).value")
    from pathlib import Path

    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, check=False)
    assert done.returncode < 0


if __name__ == "__main__":
    child()
