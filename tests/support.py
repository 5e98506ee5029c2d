"""A small network and small data for tests of the study, given by import path as a user gives his own; the command
line, called as a user calls it.
"""

import contextlib
import functools
import importlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from unittest import mock

import torch
from torch import nn

TESTS = Path(__file__).parent
PLAIN_TERMINAL = {"COLUMNS": "120", "NO_COLOR": "1"}


def sweep(cases, quick):
    """Every case of a test; those of which ``quick(case)`` is false are marked as slow."""
    import pytest

    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if quick(case) else pytest.mark.slow)
            for case in cases]


def diagonal(*axes):
    """Every combination of some values; quick are those in which each value stands at least once."""
    cases = list(itertools.product(*axes))
    longest = max(map(len, axes))
    quick = [tuple(axis[k % len(axis)] for axis in axes) for k in range(longest)]
    return sweep(cases, quick.__contains__)


def every(step, names, first=0):
    """All names; quick is each ``step``-th of them."""
    names = list(names)
    return sweep(names, names[first::step].__contains__)


class HereWorker:
    """An engine of ``secateur bench`` in this process, in place of one of its own."""

    def __init__(self, order):
        from secateur.bench.child import Child

        self.child = Child(json.loads(json.dumps(order)))

    def ask(self, do, **order):
        from secateur.bench.worker import WorkerError

        answer = json.loads(json.dumps(self.child.answer(json.dumps({"do": do, **order}))))
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self):
        del self.child


def secateur(*words, cwd):
    """The command line in this process, as it is in one of its own: exit code, output, errors.

    Where the process itself is what a test is about (a signal, a missing package, the first import), take
    :func:`secateur_process`.
    """
    from secateur.cli import main

    with text_file() as out, text_file() as err:
        with as_in_a_process(words, cwd), written_to(1, "stdout", out), written_to(2, "stderr", err):
            code = exit_code(main)
        texts = [(stream.seek(0), stream.read())[1] for stream in (out, err)]
    return subprocess.CompletedProcess(words, code, *texts)


def secateur_process(*words, cwd):
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]),
                   "OMP_NUM_THREADS": "1", **PLAIN_TERMINAL}
    return subprocess.run([sys.executable, "-m", "secateur", *words], cwd=cwd, env=environment, text=True,
                          capture_output=True, timeout=300)


def text_file():
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def exit_code(call):
    """What the interpreter makes of how a program ends."""
    try:
        call()
    except SystemExit as done:
        return done.code or 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def as_in_a_process(words, cwd):
    """What a process has to itself: folder, arguments, environment, modules of its folder, random numbers, threads."""
    before, threads = Path.cwd(), torch.get_num_threads()
    arguments = mock.patch.object(sys, "argv", ["secateur", *map(str, words)])
    modules = mock.patch.object(sys, "path", [*sys.path])
    with arguments, modules, mock.patch.dict(os.environ, PLAIN_TERMINAL), torch.random.fork_rng(devices=[]):
        os.chdir(cwd)
        importlib.invalidate_caches()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PendingDeprecationWarning)
                warnings.showwarning = warn
                yield
        finally:
            torch.set_num_threads(threads)
            os.chdir(before)
            for name in [n for n, m in sys.modules.items() if is_in(cwd, m)]:
                del sys.modules[name]


def warn(message, category, filename, lineno, file=None, line=None):
    """Python's own way with a warning, which pytest keeps to itself."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def is_in(folder, module):
    return (getattr(module, "__file__", None) or "").startswith(f"{Path(folder).resolve()}{os.sep}")


@contextlib.contextmanager
def written_to(descriptor, name, file):
    """A standard stream, of Python and of the libraries below it, into a file."""
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        with mock.patch.object(sys, name, stream(descriptor)):
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@functools.cache
def stream(descriptor):
    """Never closed: what a library has once taken as its standard error goes on to work."""
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def tiny():
    """16-12-8-4, no biases."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 8, bias=False),
                         nn.ReLU(), nn.Linear(8, 4, bias=False))


def blobs():
    """Four noisy classes of 4x4 images: 256 to train, 128 to test."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.rand(4, 1, 4, 4, generator=generator)

    def draw(count):
        labels = torch.arange(count) % 4
        noise = torch.randn(count, 1, 4, 4, generator=generator) * 0.25
        return (centres[labels] + noise).clamp(0, 1), labels

    return *draw(256), *draw(128)


def nothing():
    """A factory that returns no module."""
    return "not a module"


def wrong_classes():
    """A network with too few logits for the data."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def not_a_number():
    """A network with a NaN in its weights."""
    net = tiny()
    with torch.no_grad():
        net[1].weight[0, 0] = float("nan")
    return net


class Fickle(nn.Module):
    """Control flow on data: torch.export cannot trace it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        return self.last(hidden * 2 if float(hidden.sum()) > 1e9 else hidden)


class Convolutions(nn.Module):
    """Convolutions with batch norms and a classifier, for images of 3x8x8."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.body, self.head = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(54, 4)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.5, 0.5)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.head(self.body(self.norm(self.stem(x)).relu()).relu().flatten(1))
