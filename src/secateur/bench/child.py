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
from secateur.core import registry
from secateur.core.errors import first_line
from secateur.core.modules import Plain
from secateur.engines.base import Call, Engine, Inputs
from secateur.measure.latency import samples
from secateur.measure.size import tensor_bytes, tensors


class Child:
    """An engine and the network that it runs.

    ``order`` has ``engine``, ``threads``, ``subject``, ``folder`` (with the inputs ``N.safetensors`` of each batch),
    ``names`` (of inputs that are given by name), ``converted`` and ``warm`` (the files that the engine reads, of the
    network and of a tiny one; empty where it takes networks), ``fill`` (the dense network is the cut one with its zeros
    fill_zeros) and ``cut`` (the tensors of the cut network, where it is the original with other weights; else empty).
    """

    def __init__(self, order: dict[str, Any]):
        self.order, self.folder = order, Path(order["folder"])
        self.engine: Engine = registry.get("engines", order["engine"])()
        self.call: Call | None = None
        self.subject = Subject(**{**order["subject"], "shape": tuple(order["subject"]["shape"])})
        torch.set_num_threads(order["threads"])

    def prepare(self, batches: list[int]) -> dict[str, Any]:
        """Prepare the network and run every batch once; returns the memory that this took, in bytes.

        Before the measurement the network is read once and released, and a tiny network runs, so that libraries are
        loaded already: only memory above that counts.
        """
        self.warm()
        self.network()
        memory.trim()
        before = memory.reset_peak()
        network = self.network()
        call = self.call = self.engine.prepare(network, self.inputs(batches[0]), self.order["threads"])
        for batch in batches:
            call(self.inputs(batch))
        most = memory.peak()
        weights_bytes = tensor_bytes(network) if isinstance(network, nn.Module) else _file_bytes(network)
        del network
        memory.trim()
        now = memory.resident()
        peak, retained = (None if before is None or x is None else x - before for x in (most, now))
        return {"version": self.engine.version(), "told": self.engine.describe(call), "weights_bytes": weights_bytes,
                "peak_bytes": peak, "held_bytes": retained}

    def warm(self) -> None:
        """Prepare a tiny network and run it."""
        tiny = Path(self.order["warm"]) if self.order["warm"] else nn.Linear(2, 2).eval()
        x = (torch.ones(3, 2),)
        self.engine.prepare(tiny, x, self.order["threads"])(x)

    def network(self) -> Any:
        """The network that the engine takes, or the path of its converted file."""
        if self.order["converted"]:
            return Path(self.order["converted"])
        fill = self.engine.original and self.order["fill"]
        cut = None if self.engine.original else self.order["cut"]
        base = self.subject.original() if cut or (self.engine.original and not fill) else self.subject.pruned_network()
        assert base is not None
        if cut:
            _load_tensors(base, Path(cut))
        names = tuple(self.order["names"])
        whole = fill_zeros(base) if fill else base
        return Plain(whole, names) if names else whole

    def inputs(self, batch: int) -> Inputs:
        """The inputs of a batch size."""
        arrays = load_file(self.folder / f"{batch}.safetensors")
        return tuple(arrays[str(k)] for k in range(len(arrays)))

    def outputs(self, batch: int, path: str) -> dict[str, Any]:
        """Write the outputs of a batch to a file."""
        assert self.call is not None
        outputs = outputs_of(self.call(self.inputs(batch)))
        save_file({str(k): x.detach().clone().contiguous() for k, x in enumerate(outputs)}, path)
        return {}

    def time(self, batch: int, seconds: float) -> dict[str, Any]:
        """The seconds of each call, as many calls as fit into ``seconds``."""
        call, inputs = self.call, self.inputs(batch)
        assert call is not None
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

