"""One engine in a process of its own: it reads orders from standard input and answers on standard output.

An order and an answer are one line of JSON each.

:class:`secateur.bench.worker.Worker` starts it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from secateur.bench import memory
from secateur.bench.network import Subject, fill_zeros, outputs_of
from secateur.bench.ways import describe_ways, fastest_ways
from secateur.core import registry
from secateur.core.errors import first_line
from secateur.core.modules import Plain
from secateur.engines.base import Call, Engine, Inputs
from secateur.measure.latency import samples
from secateur.measure.size import tensor_bytes, tensors


class Child:
    """An engine and the network that it runs.

    ``order`` has ``engine``, ``threads``, ``subject``, ``folder`` (with the inputs ``N.safetensors`` of each batch),
    ``names`` (of inputs that are given by name), ``network`` (``original``, ``pruned``, or ``filled``: the pruned one
    with small numbers in place of its zeros), ``cut`` (the tensors of the pruned network, where it is the original with
    other weights; else empty), and for each way into the engine in ``files`` and ``tiny`` the file that it reads, of
    the network and of a tiny one (empty where it takes networks).
    """

    def __init__(self, order: dict[str, Any]):
        self.order, self.folder = order, Path(order["folder"])
        self.engine: Engine = registry.get("engines", order["engine"])()
        self.calls: dict[int, Call] = {}
        self.subject = Subject(**{**order["subject"], "shape": tuple(order["subject"]["shape"])})
        torch.set_num_threads(order["threads"])

    def prepare(self, batches: list[int], ways: list[str]) -> dict[str, Any]:
        """Prepare the network and run every batch once; returns the memory that this took, in bytes.

        Args:
            batches: their sizes.
            ways: those of the ways into the engine of which the fastest is taken.

        Before the measurement the fastest way into the engine is found for each batch, the network is read once and
        released, and a tiny network runs, so that libraries are loaded already: only memory above that counts.
        """
        self.warm()
        inputs = {batch: self.inputs(batch) for batch in batches}
        chosen = fastest_ways(lambda way: self.open(self.network(way), inputs[batches[0]], way), ways, inputs)
        self.network(chosen[batches[0]])
        memory.trim()
        before = memory.reset_peak()
        networks = {way: self.network(way) for way in dict.fromkeys(chosen.values())}
        calls = {way: self.open(network, inputs[batches[0]], way) for way, network in networks.items()}
        self.calls = {batch: calls[chosen[batch]] for batch in batches}
        for batch in batches:
            self.calls[batch](inputs[batch])
        most = memory.peak()
        weights_bytes = sum(tensor_bytes(network) if isinstance(network, nn.Module) else _file_bytes(network)
                            for network in networks.values())
        del networks
        memory.trim()
        now = memory.resident()
        peak, retained = (None if before is None or x is None else x - before for x in (most, now))
        told = [describe_ways(chosen), self.engine.describe(self.calls[batches[0]])]
        return {"version": self.engine.version(), "told": ", ".join(filter(None, told)), "weights_bytes": weights_bytes,
                "peak_bytes": peak, "held_bytes": retained, "ways": [chosen[batch] for batch in batches]}

    def open(self, network: Any, inputs: Inputs, way: str) -> Call:
        """The call that runs a network in a way."""
        return self.engine.prepare(network, inputs, self.order["threads"], way)

    def warm(self) -> None:
        """Prepare a tiny network in every way and run it."""
        inputs = (torch.ones(3, 2),)
        for way, path in self.order["tiny"].items():
            self.open(Path(path) if path else nn.Linear(2, 2).eval(), inputs, way)(inputs)

    def network(self, way: str) -> Any:
        """The network that the engine takes, or the path of its converted file."""
        if path := self.order["files"][way]:
            return Path(path)
        kind = self.order["network"]
        cut = self.order["cut"] if kind == "pruned" else ""
        base = self.subject.original() if cut or kind == "original" else self.subject.pruned_network()
        assert base is not None
        if cut:
            _load_tensors(base, Path(cut))
        names = tuple(self.order["names"])
        whole = fill_zeros(base) if kind == "filled" else base
        return Plain(whole, names) if names else whole

    def inputs(self, name: int | str) -> Inputs:
        """The inputs of a batch size, or of a file of samples."""
        arrays = load_file(self.folder / f"{name}.safetensors")
        return tuple(arrays[str(k)] for k in range(len(arrays)))

    def outputs(self, batch: int, path: str) -> dict[str, Any]:
        """Write the outputs of a batch to a file."""
        outputs = outputs_of(self.calls[batch](self.inputs(batch)))
        save_file({str(k): x.detach().clone().contiguous() for k, x in enumerate(outputs)}, path)
        return {}

    def compare(self, way: str, files: list[str], path: str) -> dict[str, Any]:
        """Write the outputs of a way into the engine for files of samples to a file, as ``FILE.OUTPUT`` by number."""
        call = self.open(self.network(way), self.inputs(files[0]), way)
        found = {f"{number}.{k}": y.detach().clone().contiguous() for number, file in enumerate(files)
                 for k, y in enumerate(outputs_of(call(self.inputs(file))))}
        save_file(found, path)
        return {}

    def time(self, batch: int, seconds: float) -> dict[str, Any]:
        """The seconds of each call, as many calls as fit into ``seconds``."""
        inputs, call = self.inputs(batch), self.calls[batch]
        return {"seconds": samples(lambda: call(inputs), seconds)}

    @torch.inference_mode()
    def answer(self, line: str) -> dict[str, Any]:
        """Carry out the order of a line; a failure is an answer, too."""
        order = json.loads(line)
        try:
            return getattr(self, order.pop("do"))(**order)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {first_line(error)}"}


@torch.no_grad()
def _load_tensors(network: nn.Module, path: Path) -> None:
    """Copy the tensors of a file into a network, one at a time, so that only one is in memory twice."""
    with safe_open(path, "pt") as file:
        for name, tensor in tensors(network):
            tensor.copy_(file.get_tensor(name))


def _file_bytes(path: Path) -> int:
    """The bytes of a converted network: its file, and the file of its weights where there is one beside it."""
    return sum(p.stat().st_size for p in {path, path.with_suffix(".bin")} if p.exists())


def serve(child: Child, lines: Iterable[str], out: TextIO) -> None:
    """Answer orders until the input ends."""
    for line in lines:
        out.write(json.dumps(child.answer(line)) + "\n")
        out.flush()


def main() -> None:
    """Serve on standard input and output; whatever libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        serve(Child(json.loads(sys.argv[2])), sys.stdin, out)

