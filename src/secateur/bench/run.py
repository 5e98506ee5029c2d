"""Every engine against every other: outputs compared first, then timed by turns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from secateur.bench.compared import ComparedWays
from secateur.bench.config import BenchConfig
from secateur.bench.network import Subject, cut_of, fill_zeros, outputs_of
from secateur.bench.points import CUT, ORIGINAL, Run, points
from secateur.bench.rounded import FULL, LEAST_SAME, MOST_ERROR, as_plain
from secateur.bench.samples import read_data, samples_of
from secateur.bench.verdict import verdict
from secateur.bench.ways import convert_ways
from secateur.bench.worker import Worker, WorkerError
from secateur.core import registry
from secateur.core.errors import SecateurError, first_line
from secateur.core.machine import OthersLoad, machine
from secateur.core.modules import Plain
from secateur.core.pytree import repeat
from secateur.core.tensors import dtype_name
from secateur.data.datasets.base import Dataset
from secateur.data.samples import HeldOutSamples
from secateur.engines.base import Engine
from secateur.files.native.program.network import FileNetwork
from secateur.measure.compare import LARGEST_DIFFERENCE, difference
from secateur.measure.noise import busy
from secateur.measure.size import size, tensors

FORMAT = "secateur bench 3"
ROUNDS = 10
"""Turns of all engines: a machine that slows down meanwhile slows every engine in some of them."""
FILLED = ("the file does not hold the original network: the cut network was timed in its place, with small numbers "
          "instead of zeros, which takes the same time")
GRAPH = ("torch runs the file's graph operator by operator, which for small networks is slower than their own code: "
         "to time that code, add --factory pkg.module:factory")
GONE = ("the file does not hold the original network, so only the cut network was timed: to time both, add --factory "
        "pkg.module:factory")
ROUNDED = ("the network's weights are in eight bits already: it would round them again; onnxruntime and openvino "
           "compute it as it is")
WHOLE = "nothing was cut: every engine runs the same network, shown as the original"
DRAWN = ("outputs in less precision were compared on the original that the factory gives: if that has no trained "
         "weights, give them with --weights")
SHARED = ("engines that do not use zeros run the cut network as fast as the original, so they timed only the original")
Say = Callable[[str], None]


def bench(subject: Subject, settings: BenchConfig | None = None, say: Say = lambda _: None) -> dict[str, Any]:
    """Time a network before and after its cut, in every engine that is installed, each in a process of its own.

    Every engine runs both networks. Where weights were cut, an engine that does not use zeros runs the original alone:
    the cut network has the same shapes. An engine that cannot run a network, or in float32 gives outputs that differ
    from torch's by more than 1e-4 of the largest, is not timed; ``refused`` of the result says why. In less precision,
    such as int8, outputs are compared on samples instead; those beyond the tolerance are timed, but marked, and stand
    in no verdict.

    Args:
        subject: the network.
        settings: batch sizes, threads, seconds, engines.
        say: is told what goes on.

    Returns:
        Plain data: ``points`` (one an engine, network, batch and count of threads: percentiles of a call in seconds,
        medians of the rounds, samples a second, speed-up over ``against`` with quartiles, ``error`` of the outputs,
        ``precision``, and where that is not float32 the ``agreement`` with the same network in float32 on the samples:
        relative ``error``, ``cosine``, the fraction of rows with the ``same`` class, with labels the ``accuracy`` of
        both; ``ruined`` where it is not within the ``tolerance``),
        ``memory`` (bytes), ``engines``, ``refused``, ``network``, ``notes``, ``verdict``, with the settings and the
        machine.

    Raises:
        SecateurError: the network cannot be made, or nothing could be timed.
    """
    config, others = settings or BenchConfig(), OthersLoad(with_children=True)
    subject, data = read_data(subject)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        case = Case(subject, config, Path(folder), data)
        for threads in config.threads:
            case.run(threads, say)
    if not case.points:
        raise SecateurError("nothing could be timed: " + "; ".join(f"{r['engine']}: {r['reason']}"
                                                                   for r in case.refusals))
    results = {"format": FORMAT, "machine": machine(), "subject": asdict(subject), "settings": asdict(config),
               "tolerance": {"error": MOST_ERROR, "same": LEAST_SAME}, "network": case.facts(),
               "notes": [*case.notes, *case.compared.notes(DRAWN if case.drawn else ""), *busy(others.measure())],
               "engines": case.engines, "refused": case.refusals, "memory": case.memory,
               "points": case.points}
    return results | {"verdict": verdict(results)}


class Case:
    """One subject: its networks, inputs and expected outputs, and what is found of it."""

    def __init__(self, subject: Subject, settings: BenchConfig, folder: Path,
                 data: Dataset | HeldOutSamples | None = None):
        self.subject, self.settings, self.folder = subject, settings, folder
        with torch.inference_mode(False):
            self.network = subject.pruned_network()
            self.cut = cut_of(self.network)
            self.original = subject.original() if self.cut else self.network
        self.fill = self.original is None and self.cut == "weight"
        if self.fill:
            self.original = fill_zeros(self.network)
        self.notes = [*subject.source.notes, *self.own_notes()]
        self.samples = samples_of(subject, self.network, data)
        self.names = self.samples.names
        self.check_batches()
        self.inputs = self.write_inputs(self.samples.timed)
        self.compared = ComparedWays(self.samples, folder)
        self.drawn = bool(subject.file and subject.model and not subject.weights)
        self.cut_tensors = "" if subject.sparsity is None else self.cut_file()
        self.engines: dict[str, dict[str, str]] = {}
        self.refusals: list[dict[str, Any]] = []
        self.memory: list[dict[str, Any]] = []
        self.points: list[dict[str, Any]] = []
        self.files: dict[Run, tuple[dict[str, str], dict[str, str]]] = {}

    def own_notes(self) -> list[str]:
        """What a reader has to know of the two networks."""
        notes = {FILLED: self.fill, GRAPH: isinstance(self.network, FileNetwork), GONE: self.original is None,
                 WHOLE: not self.cut, SHARED: self.cut == "weight"}
        return [note for note, holds in notes.items() if holds]

    def cut_file(self) -> str:
        """The cut network's tensors in a file, so that no other process has to plan the cut again."""
        path = self.folder / "cut.safetensors"
        save_file({name: x.detach().contiguous() for name, x in tensors(self.network)}, path)
        return str(path)

    def check_batches(self) -> None:
        """Refuse batch sizes that a network of one size does not take."""
        graph = isinstance(self.network, FileNetwork) and self.network.batch
        only = self.subject.source.batch or graph
        if only and set(self.settings.batches) != {only}:
            raise SecateurError(f"'{self.subject.name}' accepts batches of {only} only: use --batch {only}")

    def write_inputs(self, sample: tuple[Tensor, ...]) -> dict[int, tuple[Tensor, ...]]:
        """The inputs of every batch size, also as files."""
        by_batch = {batch: repeat(sample, batch) for batch in self.settings.batches}
        for batch, inputs in by_batch.items():
            save_file({str(k): x.clone() for k, x in enumerate(inputs)}, self.folder / f"{batch}.safetensors")
        return by_batch

    def facts(self) -> dict[str, Any]:
        """The sizes of both networks."""
        sizes = {"class": getattr(self.network, "original", type(self.network).__name__), "cut": self.cut,
                 "inputs": [f"{dtype_name(x.dtype)}{list(x.shape[1:])}" for x in self.samples.timed],
                 **size(self.network)}
        if self.original is None or self.fill or not self.cut:
            return sizes
        # Where a file's original is made by a factory, its weights may be drawn at random.
        trained = self.subject.sparsity is not None or bool(self.subject.weights)
        near = self.compared.compare_cut(self.run_by) if trained else None
        return sizes | {"bytes_before": size(self.original)["bytes"], **({"agreement": as_plain(near)} if near else {})}

    def run(self, threads: int, say: Say) -> None:
        """Time every engine on so many threads."""
        with ExitStack() as stack:
            workers = {run: worker for run in self.runs(threads)
                       if (worker := self.open_engine(run, threads, stack, say))}
            for batch in self.settings.batches:
                fit = {run: outputs for run, worker in workers.items()
                       if (outputs := self.check_outputs(run, worker, threads, batch)) is not None}
                say(f"timing {len(fit)} engines at batch {batch}, threads {threads}")
                times = self.turns({run: workers[run] for run in fit}, threads, batch)
                self.points += list(points(times, fit, threads, batch))

    def runs(self, threads: int) -> list[Run]:
        """Every engine that can run here, with each of the networks that may differ in speed."""
        runs = []
        for name in self.settings.ordered_engines:
            engine: Engine = registry.get("engines", name)()
            if reasons := engine.refusals():
                self.refuse(Run(name, ""), threads, None, "; ".join(reasons))
            else:
                runs += [run for network in self.networks(engine)
                         if not self.is_rounded(run := Run(name, network), engine, threads)]
        return sorted(runs, key=lambda run: run.network != ORIGINAL)

    def is_rounded(self, run: Run, engine: Engine, threads: int) -> bool:
        """Whether an engine would round what has been rounded, which is another network; the reason is kept."""
        network = self.network if run.network == CUT else self.original
        done = (engine.rounds and network is not None
                and any(x.dtype == torch.int8 for _, x in tensors(network)))
        if done:
            self.refuse(run, threads, None, ROUNDED)
        return done

    def networks(self, engine: Engine) -> list[str]:
        """The networks that an engine runs: both, or one where the other has the same speed or is not there."""
        same = not self.cut or (self.cut == "weight" and not engine.uses_zeros)
        return [ORIGINAL] if same else [CUT] if self.original is None else [ORIGINAL, CUT]

    def open_engine(self, run: Run, threads: int, stack: ExitStack, say: Say) -> Worker | None:
        """The process of an engine with the network ready in it; None, with the reason kept, where it cannot be."""
        engine: Engine = registry.get("engines", run.engine)()
        say(f"preparing {run}, threads {threads}")
        try:
            files, tiny = self.convert(run, engine, threads)
            worker = Worker({"engine": run.engine, "threads": threads, "subject": asdict(self.subject),
                             "network": self.kind(run), "names": self.names, "folder": str(self.folder),
                             "files": files, "tiny": tiny, "cut": self.cut_tensors})
            stack.callback(worker.close)
            ways, errors = self.compared.choose(run, engine, worker, self.run_by(run), list(files))
            if errors:
                self.refuse(run, threads, None, "; ".join(errors))
            answer = worker.ask("prepare", batches=list(self.settings.batches), ways=ways)
        except WorkerError as error:
            self.refuse(run, threads, None, first_line(error))
            return None
        self.compared.take(run, dict(zip(self.settings.batches, answer.pop("ways"), strict=True)))
        self.engines[run.engine] = {"title": engine.title, "version": answer.pop("version")}
        self.memory.append({**asdict(run), "precision": engine.precision(), "threads": threads, **answer})
        return worker

    def kind(self, run: Run) -> str:
        """Which network a process makes for a run, as :class:`secateur.bench.child.Child` takes it."""
        if run.network == CUT or not self.cut:
            return "pruned"
        return "filled" if self.fill else "original"

    def convert(self, run: Run, engine: Engine, threads: int) -> tuple[dict[str, str], dict[str, str]]:
        """The file of the network, and of a tiny one, for each way into the engine; empty where it takes networks.

        Raises:
            WorkerError: the engine cannot take the network in any way.
        """
        if run in self.files:
            return self.files[run]
        files, errors = convert_ways(engine, self.run_by(run), self.samples.shown, self.folder / run.network)
        if not files:
            raise WorkerError("; ".join(errors))
        if errors:
            self.refuse(run, threads, None, "; ".join(errors))
        tiny, _ = convert_ways(engine, Plain(nn.Linear(2, 2)).eval(), (torch.ones(3, 2),), self.folder / "tiny")
        texts = [{way: str(path or "") for way, path in found.items()} for found in (files, tiny)]
        self.files[run] = texts[0], {way: path for way, path in texts[1].items() if way in files}
        return self.files[run]

    def check_outputs(self, run: Run, worker: Worker, threads: int, batch: int) -> dict[str, Any] | None:
        """How near an engine's outputs are to torch's; None, with the reason kept, if the difference is too great."""
        path, precision = self.folder / "outputs.safetensors", registry.get("engines", run.engine)().precision()
        try:
            worker.ask("outputs", batch=batch, path=str(path))
        except WorkerError as error:
            self.refuse(run, threads, batch, first_line(error))
            return None
        files, truth = load_file(path), outputs_of(self.run_by(run)(*self.inputs[batch]))
        outputs = [files[str(k)] for k in range(len(files))]
        gap = difference(outputs, truth)
        allowed = LARGEST_DIFFERENCE if precision == FULL else sys.float_info.max
        if not gap <= allowed:
            self.refuse(run, threads, batch, f"its outputs differ from torch's by {gap:.2g} of the largest, allowed is "
                        f"{allowed:.1g}")
            return None
        return {"error": gap, "precision": precision, **self.compared.judge(run, batch, gap)}

    def run_by(self, run: Run) -> nn.Module:
        """The network of a run, its inputs taken by place."""
        network = self.network if run.network == CUT else self.original
        assert network is not None
        return Plain(network, self.names)

    def turns(self, workers: dict[Run, Worker], threads: int, batch: int) -> dict[Run, list[list[float]]]:
        """The seconds of every call, in lists of a round each; the order of the engines turns from round to round."""
        times: dict[Run, list[list[float]]] = {run: [] for run in workers}
        for turn in range(ROUNDS):
            runs = list(times)
            for run in runs[turn % max(1, len(runs)):] + runs[:turn % max(1, len(runs))]:
                try:
                    answer = workers[run].ask("time", batch=batch, seconds=self.settings.seconds / ROUNDS)
                    times[run].append(answer["seconds"])
                except WorkerError as error:
                    del times[run]
                    self.refuse(run, threads, batch, first_line(error))
        return times

    def refuse(self, run: Run, threads: int, batch: int | None, reason: str) -> None:
        """Keep why an engine, or one of its ways, was not timed."""
        self.refusals.append({**asdict(run), "threads": threads, "batch": batch, "reason": reason})
