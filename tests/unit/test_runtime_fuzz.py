"""A sample of ``benchmarks/fuzz.py``: whole random networks against torch, and between guard pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.runtime.codegen import isa as isas

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

pytestmark = pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")


def environment(tmp_path_factory):
    cache = str(tmp_path_factory.getbasetemp() / "kernels")
    return {**os.environ, "SECATEUR_CACHE": cache, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.slow
def test_random_networks_give_what_torch_gives(tmp_path_factory):
    done = subprocess.run([sys.executable, BENCHMARKS / "fuzz.py", "--first", "1000000", "--count", "8", "--here"],
                          capture_output=True, text=True, env=environment(tmp_path_factory), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_the_fuzzer_sees_a_difference():
    import fuzz
    from random_networks import network

    net, _ = network(6)
    x = torch.randn(4, *net.shape)
    with torch.no_grad():
        right = fuzz.leaves(net(x))
    assert fuzz.compare(net, lambda x: tuple(right), x) == ""
    shifted = tuple(y + 1e-3 * y.abs().max() for y in right)
    assert fuzz.compare(net, lambda x: shifted, x).startswith("error ")
    assert "torch torch.float32" in fuzz.compare(net, lambda x: tuple(y.double() for y in right), x)
    bad = x.clone()
    bad.view(-1)[0] = float("nan")
    with torch.no_grad():
        spread = tuple(torch.nan_to_num(y) for y in fuzz.leaves(net(bad)))
    assert "NaN" in fuzz.compare(net, lambda x: spread, bad)


def test_networks_of_a_seed_are_always_the_same():
    from random_networks import network

    (one, _), (two, _) = network(11), network(11)
    assert str(one) == str(two)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(one.state_dict().values(),
                                                                    two.state_dict().values(), strict=True))


def child() -> None:
    """Random networks with every buffer that a kernel is given between two pages that may not be touched."""
    from dataclasses import replace

    import test_runtime_bounds as bounds
    from random_networks import network

    from secateur.runtime.execute import runner
    from secateur.runtime.frontend.capture import capture
    from secateur.runtime.schedule import build, build_tiles
    from secateur.runtime.schedule.candidates import Candidate

    pack, room, bias = Candidate.pack, runner.aligned_zeros, build_tiles.pad_bias
    for seed in range(2_000_000, 2_000_006):
        guard = bounds.Guarded(seed % 2 == 0)
        Candidate.pack = lambda *a, g=guard: replace(p := pack(*a), table=g(p.table), heads=g(p.heads),
                                                     stream=g(p.stream))
        build_tiles.pad_bias = lambda b, g=guard: None if b is None else g(bias(b))
        runner.aligned_zeros = lambda size, g=guard: g(room(size))
        net, rng = network(seed)
        for segment in capture(net, (torch.randn(2, *net.shape),)).segments:
            for name in isas.available():
                width = rng.choice(build.widths(isas.ISAS[name], segment))
                program = build.build(segment, width, isas.ISAS[name], lambda _, options, r=rng: r.choice(options), 2)
                for rows in (1, width + 1):
                    held = [guard(np.ones((rows, *v.shape), np.float32)) for v in (*segment.inputs, *segment.outputs)]
                    runner.run(program, [a.ctypes.data for a in held], 0, rows, 1, False)
    print("within bounds")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
def test_random_networks_stay_within_their_buffers(tmp_path_factory):
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False,
                          env=environment(tmp_path_factory))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "within bounds"


if __name__ == "__main__":
    child()
