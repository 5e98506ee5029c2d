"""Every engine against every other: outputs compared first, then timed by turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from secateur.bench.network import Subject, cut_of, fill_zeros, outputs_of
from secateur.bench.verdict import verdict
from secateur.bench.worker import Worker, WorkerError
from secateur.core import registry
from secateur.core.errors import SecateurError, first_line
from secateur.core.machine import busy, machine
from secateur.core.modules import Plain
from secateur.core.pytree import repeat
from secateur.core.settings import TIMING, Settings, setting
from secateur.core.tensors import dtype_name
from secateur.engines.base import Engine
from secateur.files.native.program.network import FileNetwork
from secateur.measure.compare import LARGEST_DIFFERENCE, difference
from secateur.measure.latency import summary
from secateur.measure.size import size, tensors

FORMAT = "secateur bench 1"
ROUNDS = 10
"""Turns of all engines: a machine that slows down meanwhile slows every engine in some of them."""
FILLED = ("the network before the cut is not in the file: dense is the cut network with small numbers in place of its "
          "zeros, which torch runs as fast")
GRAPH = ("torch runs the graph that the file holds, operator by operator, which for small networks takes longer than "
         "their own code: --model pkg.module:factory gives that")
GONE = "the network before the cut is not in the file: --model pkg.module:factory makes it"
WHOLE = "nothing was cut: the network is the one that runs dense"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchConfig(Settings):
    """How networks are timed in :func:`bench`.

    Raises:
        SecateurError: a value that cannot be; the message says what is allowed.
    """

    batches: tuple[int, ...] = setting((1, 16, 64), "samples at once", flags=("--batch",), group=TIMING, least=1,
                                       some=True)
    threads: tuple[int, ...] = setting((1,), "threads of every engine", group=TIMING, least=1, some=True)
    seconds: float = setting(2.0, "of timing, for each engine at each batch", group=TIMING, above=0)
    engines: tuple[str, ...] = setting((), "those to time, of dense, zeroed, sparse, onnxruntime, openvino; empty: all "
                                       "that are installed", group=TIMING, repeats=True,
                                       check=partial(registry.get, "engines"))

    @property
    def ordered_engines(self) -> tuple[str, ...]:
        """The engines in the order of tables: torch first, then ours, then others."""
        first = [name for name in ("dense", "zeroed", "sparse") if name in registry.files("engines")]
        every = [*first, *(n for n in registry.files("engines") if n not in first)]
        return tuple(n for n in every if not self.engines or n in self.engines)


def bench(subject: Subject, settings: BenchConfig | None = None, say: Say = lambda _: None) -> dict[str, Any]:
    """Time a network before and after its cut, in every engine that is installed, each in a process of its own.

    An engine that cannot run the network, or whose outputs differ from torch's by more than 1e-4 of the largest, is
    not timed; ``refused`` of the result says why.

    Args:
        subject: the network.
        settings: batch sizes, threads, seconds, engines.
        say: is told what goes on.

    Returns:
        Plain data: ``points`` (one an engine, batch and count of threads: percentiles of a call in seconds, samples a
        second, speed-up over ``against`` with quartiles, ``error`` of the outputs), ``memory`` (bytes), ``engines``,
        ``refused``, ``network``, ``notes``, ``verdict``, with the settings and the machine.

    Raises:
        SecateurError: the network cannot be made, or nothing could be timed.
    """
    config, crowd = settings or BenchConfig(), busy()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        case = Case(subject, config, Path(folder))
        for threads in config.threads:
            case.run(threads, say)
    if not case.points:
        raise SecateurError("nothing could be timed: " + "; ".join(f"{r['engine']}: {r['reason']}"
                                                                   for r in case.refusals))
    results = {"format": FORMAT, "machine": machine(), "subject": asdict(subject), "settings": asdict(config),
               "network": case.facts(), "notes": [*case.notes, *crowd], "engines": case.engines,
               "refused": case.refusals, "memory": case.memory, "points": case.points}
    return results | {"verdict": verdict(results)}


class Case:
    """One subject: its networks, inputs and expected outputs, and what is found of it."""

    def __init__(self, subject: Subject, settings: BenchConfig, folder: Path):
        self.subject, self.settings, self.folder = subject, settings, folder
        with torch.inference_mode(False):
            self.network = subject.pruned_network()
            self.original = subject.original()
        self.cut, self.notes = cut_of(self.network), [*subject.source.notes]
        self.fill = self.original is None and self.cut != "neuron"
        if self.fill:
            self.original = fill_zeros(self.network)
            self.notes.append(FILLED)
        if isinstance(self.network, FileNetwork):
            self.notes.append(GRAPH)
        sample, self.names = subject.sample(self.network)
        self.check_batches(sample)
        self.inputs, self.wide = self.write_inputs(sample), repeat(sample, 3)
        self.cut_tensors = "" if subject.sparsity is None else self.cut_file()
        self.engines: dict[str, dict[str, str]] = {}
        self.refusals: list[dict[str, Any]] = []
        self.memory: list[dict[str, Any]] = []
        self.points: list[dict[str, Any]] = []
        self.files: dict[str, tuple[str, str]] = {}

    def cut_file(self) -> str:
        """The cut network's tensors in a file, so that no other process has to plan the cut again."""
        path = self.folder / "cut.safetensors"
        save_file({name: x.detach().contiguous() for name, x in tensors(self.network)}, path)
        return str(path)

    def check_batches(self, sample: tuple[Tensor, ...]) -> None:
        """Refuse batch sizes that a network of one size does not take."""
        graph = isinstance(self.network, FileNetwork) and self.network.batch
        only = self.subject.source.batch or graph
        if only and set(self.settings.batches) != {only}:
            raise SecateurError(f"'{self.subject.name}' takes batches of {only} alone: --batch {only}")

    def write_inputs(self, sample: tuple[Tensor, ...]) -> dict[int, tuple[Tensor, ...]]:
        """The inputs of every batch size, also as files."""
        by_batch = {batch: repeat(sample, batch) for batch in self.settings.batches}
        for batch, inputs in by_batch.items():
            save_file({str(k): x.clone() for k, x in enumerate(inputs)}, self.folder / f"{batch}.safetensors")
        return by_batch

    def facts(self) -> dict[str, Any]:
        """The sizes of both networks."""
        sizes = {"class": getattr(self.network, "original", type(self.network).__name__), "cut": self.cut,
                 "inputs": [f"{dtype_name(x.dtype)}{list(x.shape[1:])}" for x in self.wide],
                 **size(self.network)}
        return sizes | ({"bytes_before": size(self.original)["bytes"]} if self.original and not self.fill else {})

    def run(self, threads: int, say: Say) -> None:
        """Time every engine on so many threads."""
        with ExitStack() as stack:
            workers = {name: worker for name in self.settings.ordered_engines
                       if (worker := self.open_engine(name, threads, stack, say))}
            for batch in self.settings.batches:
                fit = {name: error for name, worker in workers.items()
                       if (error := self.check_outputs(name, worker, threads, batch)) is not None}
                say(f"timing {len(fit)} engines at batch {batch}, threads {threads}")
                times = self.turns({name: workers[name] for name in fit}, threads, batch)
                self.points += list(points(times, fit, threads, batch))

    def open_engine(self, name: str, threads: int, stack: ExitStack, say: Say) -> Worker | None:
        """The process of an engine with the network ready in it; None, with the reason kept, where it cannot be."""
        engine: Engine = registry.get("engines", name)()
        if reasons := [*engine.refusals(), *self.why_not(name, engine)]:
            self.refuse(name, threads, None, "; ".join(reasons))
            return None
        say(f"preparing {engine.title}, threads {threads}")
        try:
            converted, warm = self.convert(name, engine)
            worker = Worker({"engine": name, "threads": threads, "subject": asdict(self.subject), "fill": self.fill,
                             "names": self.names, "folder": str(self.folder), "converted": converted, "warm": warm,
                             "cut": self.cut_tensors})
            stack.callback(worker.close)
            answer = worker.ask("prepare", batches=list(self.settings.batches))
        except WorkerError as error:
            self.refuse(name, threads, None, first_line(error))
            return None
        self.engines[name] = {"title": engine.title, "version": answer.pop("version"), "told": answer.pop("told")}
        self.memory.append({"engine": name, "threads": threads, **answer})
        return worker

    def why_not(self, name: str, engine: Engine) -> list[str]:
        """Why an engine has nothing to run."""
        if engine.original:
            return [] if self.original is not None else [GONE]
        return [WHOLE] if name == "zeroed" and not self.cut else []

    def convert(self, name: str, engine: Engine) -> tuple[str, str]:
        """The files of the network, and of a tiny one, in the engine's format; empty where it takes networks."""
        if name in self.files:
            return self.files[name]
        try:
            with torch.inference_mode(False):
                file = engine.convert(self.run_by(engine), self.wide, self.new(f"{name}-network"))
                tiny = engine.convert(Plain(nn.Linear(2, 2)).eval(), (torch.ones(3, 2),), self.new(f"{name}-tiny"))
        except Exception as error:
            raise WorkerError(f"cannot be converted: {type(error).__name__}: {first_line(error)}") from error
        self.files[name] = (str(file or ""), str(tiny or ""))
        return self.files[name]

    def new(self, name: str) -> Path:
        """A folder for the files of an engine."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def check_outputs(self, name: str, worker: Worker, threads: int, batch: int) -> float | None:
        """The greatest difference of an engine's outputs from torch's; None, with the reason kept, if too great."""
        network, path = self.run_by(registry.get("engines", name)), self.folder / "outputs.safetensors"
        try:
            worker.ask("outputs", batch=batch, path=str(path))
        except WorkerError as error:
            self.refuse(name, threads, batch, first_line(error))
            return None
        outputs, truth = load_file(path), outputs_of(network(*self.inputs[batch]))
        gap = difference([outputs[str(k)] for k in range(len(outputs))], truth)
        if gap <= LARGEST_DIFFERENCE:
            return gap
        self.refuse(name, threads, batch, f"its outputs differ from torch's by {gap:.2g} of the largest, allowed is "
                    f"{LARGEST_DIFFERENCE:g}")
        return None

    def run_by(self, engine: Any) -> nn.Module:
        """The network that an engine runs, its inputs taken by place."""
        network = self.original if engine.original else self.network
        assert network is not None
        return Plain(network, self.names)

    def turns(self, workers: dict[str, Worker], threads: int, batch: int) -> dict[str, list[list[float]]]:
        """The seconds of every call, in lists of a round each; the order of the engines turns from round to round."""
        times: dict[str, list[list[float]]] = {name: [] for name in workers}
        for turn in range(ROUNDS):
            names = list(times)
            for name in names[turn % max(1, len(names)):] + names[:turn % max(1, len(names))]:
                try:
                    answer = workers[name].ask("time", batch=batch, seconds=self.settings.seconds / ROUNDS)
                    times[name].append(answer["seconds"])
                except WorkerError as error:
                    del times[name]
                    self.refuse(name, threads, batch, first_line(error))
        return times

    def refuse(self, name: str, threads: int, batch: int | None, reason: str) -> None:
        """Keep why an engine was not timed."""
        self.refusals.append({"engine": name, "threads": threads, "batch": batch, "reason": reason})


def points(times: dict[str, list[list[float]]], errors: dict[str, float], threads: int,
           batch: int) -> Iterator[dict[str, Any]]:
    """The figures of every engine at one batch size."""
    if not times:
        return
    base = next(iter(times))
    ratios = summary({name: [float(np.median(r)) for r in rounds] for name, rounds in times.items()}, base)
    for name, rounds in times.items():
        calls = np.concatenate(rounds)
        p50, p90, p99 = (float(v) for v in np.percentile(calls, [50, 90, 99]))
        speed = {k: v for k, v in ratios[name].items() if k.startswith("speedup")}
        yield {"engine": name, "threads": threads, "batch": batch, "p50": p50, "p90": p90, "p99": p99,
               "calls": len(calls), "samples_per_s": batch * len(calls) / float(calls.sum()), "against": base,
               "error": errors[name], **speed}
