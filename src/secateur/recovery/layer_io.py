"""Layer by layer: the inputs of a cut network's layer beside the outputs that the original's layer gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.data.calibration import Batch, Calibration
from secateur.data.forward import call, watched
from secateur.graph import surgery
from secateur.pruning.signals.unfold import groups_of, real, rows_in, rows_out
from secateur.recovery.layerwise_passes import Passes
from secateur.recovery.methods.base import Patient

ROWS = 1 << 18
ROOM = 1 << 30
JOINED = 1 << 12
RELUS = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_, Tensor.relu, Tensor.relu_}


@dataclass(frozen=True, eq=False)
class Task:
    """One layer of the cut network that may be refitted.

    ``support`` is what of its weight stays, ``(outputs, columns)``, or None where all of it does; ``outputs``
    which of the original's outputs it still gives; ``rectified`` whether nothing but a ReLU reads them;
    ``before`` are the layers that were refitted before it, ``layers`` those that may be in all; ``passes`` give what
    layers of the cut network and of the original see.
    """

    name: str
    module: nn.Module
    support: Tensor | None
    outputs: Tensor | None
    rectified: bool
    before: tuple[str, ...]
    layers: tuple[str, ...]
    passes: tuple[Passes, Passes]


class Reads(TorchFunctionMode):
    """Notes which functions read the output of each layer, for one call of a network."""

    def __init__(self, names: dict[nn.Module, str]):
        super().__init__()
        self.names, self.read, self._tensors = names, dict[str, list[Any]](), dict[int, tuple[str, Tensor]]()

    def made(self, module: nn.Module, _: Any, output: Tensor) -> None:
        """A forward hook: this tensor is the output of that layer."""
        name = self.names[module]
        if name in self.read:
            self.read[name].append("called again")
            return
        self.read[name] = []
        self._tensors[id(output)] = (name, output)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call that reads an output, then make it; what a ReLU wrote over is no layer's output any more."""
        self.note(func, (args, kwargs))
        made = func(*args, **(kwargs or {}))
        if func in RELUS:
            self._tensors.pop(id(made), None)
        return made

    def note(self, reader: Any, values: Any) -> None:
        """Note who reads the outputs among some values, lists and dicts of them too."""
        for value in pytree.tree_leaves(values):
            if id(value) in self._tensors and self._tensors[id(value)][1] is value:
                self.read[self._tensors[id(value)][0]].append(reader)


def reads(model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
    """The linear and convolutional layers in the order in which a network calls them, with what reads each.

    A layer whose weight is no parameter of its own (a parametrization makes it) is none of them.
    """
    layers: dict[nn.Module, str] = {
        module: name for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd)) and not isinstance(module, _ConvTransposeNd)
        and "weight" in module._parameters}
    noted = Reads(layers)
    with watched(model, dict.fromkeys(layers.values(), noted.made)), torch.no_grad():
        with noted:
            outputs = call(model, batch)
        noted.note("returned", outputs)
    return noted.read


def frozen(module: nn.Module) -> bool:
    """Whether a parameter of a layer's own is not to be changed (``requires_grad`` is False)."""
    return any(not parameter.requires_grad for parameter in module.parameters(recurse=False))


def check_free(model: nn.Module) -> None:
    """Refuse a network whose every layer is frozen: none of it could be refitted."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, _ConvNd))]
    if layers and all(map(frozen, layers)):
        raise SecateurError(f"all {len(layers)} linear and convolutional layers are frozen (requires_grad is False), "
                            "and frozen layers are not refitted: call requires_grad_(True) on those that may be, or "
                            "take recovery none")


def tasks(patient: Patient) -> Iterator[Task]:
    """The layers that can be refitted, in the order in which the cut network calls them.

    A layer that either network calls twice or never (a fused path), that shares its weight with another, or that is
    frozen, stays as it is.

    Raises:
        SecateurError: all layers are frozen.
        UnsupportedError: the cut network is no module with the original's layers.
    """
    assert patient.samples is not None
    check_free(patient.original)
    original, pruned = dict(patient.original.named_modules()), dict(patient.pruned.named_modules())
    kept = surgery.masks(patient.original, [c for c in patient.plan.cuts if c.group])
    supports = {c.name: c.keep for c in patient.plan.cuts if c.group is None}
    users: dict[int, int] = {}
    for module in pruned.values():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    first = next(iter(patient.samples))
    passes, before = (Passes(patient.pruned, ROOM // 2), Passes(patient.original, ROOM // 2)), list[str]()
    called = {name for name, readers in reads(patient.original, first).items() if "called again" not in readers}
    for name, readers in reads(patient.pruned, first).items():
        module = pruned[name]
        if not isinstance(original.get(name), (nn.Linear, _ConvNd)):
            raise UnsupportedError(f"layer '{name}' of the cut network has no counterpart in the original (it was cut "
                                   "as a graph): it cannot be refitted; use finetune")
        if name not in called or users[id(module.weight)] > 1 or "called again" in readers or frozen(original[name]):
            continue
        weight = f"{name}.weight" if name else "weight"
        support = supports[weight].flatten(1) if weight in supports else None
        rectified = bool(readers) and set(readers) <= RELUS
        yield Task(name, module, support, kept.get(weight, {}).get(0), rectified, tuple(before), tuple(called), passes)
        before.append(name)


class Rows:
    """Inputs of one layer of the cut network and outputs of the original's, as rows; gone through as often as needed.

    At most ``most`` rows of all batches are taken, evenly; they are kept where they fit ``room`` bytes.
    """

    def __init__(self, patient: Patient, task: Task, most: int = ROWS, room: int = ROOM):
        assert patient.samples is not None
        self.patient, self.task, self.most, self.room = patient, task, most, room
        self.samples: Calibration = patient.samples

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._kept) if self._kept is not None else joined(self._seen())

    @cached_property
    def _kept(self) -> list[tuple[Tensor, Tensor]] | None:
        kept, size = [], 0
        for x, y in joined(self._seen()):
            kept.append((x, y))
            size += 4 * (x.numel() + y.numel())
            if size > self.room:
                return None
        if not kept:
            raise SecateurError("data holds no samples to refit layers with")
        return kept

    @cached_property
    def _batches(self) -> int:
        return sum(1 for _ in self.samples)

    def _seen(self) -> Iterator[tuple[Tensor, Tensor]]:
        """``(groups, rows, columns)`` and ``(groups, rows, outputs)`` of each batch."""
        task, limit = self.task, max(1, self.most // self._batches)
        (cut, whole), module = task.passes, task.module
        for number, batch in enumerate(self.samples):
            x = rows_in(module, real(module, batch, cut.input(task.name, number, batch, task.before)))
            y = rows_out(module, real(module, batch, whole.output(task.name, number, batch, task.layers)))
            y = y if task.outputs is None else y[:, task.outputs.to(y.device)]
            if x.shape[1] != len(y):
                raise UnsupportedError(f"layer '{task.name}' has {x.shape[1]} rows in the cut network, {len(y)} in the "
                                       "original: it cannot be refitted")
            step = -(-len(y) // limit)
            groups = groups_of(module)
            yield x[:, ::step], y[::step].view(-(-len(y) // step), groups, -1).transpose(0, 1)


def joined(pairs: Iterator[tuple[Tensor, Tensor]], rows: int = JOINED) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs put together until they hold so many rows, so that sums over them are made less often.

    >>> [len(x[0]) for x, _ in joined(iter([(torch.zeros(1, 3, 2), torch.zeros(1, 3, 1))] * 3), 5)]
    [6, 3]
    """
    waiting: list[tuple[Tensor, Tensor]] = []
    for pair in pairs:
        waiting.append(pair)
        if sum(x.shape[1] for x, _ in waiting) >= rows:
            yield together(waiting)
            waiting = []
    if waiting:
        yield together(waiting)


def together(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Some pairs as one."""
    x, y = (torch.cat(parts, 1) if len(parts) > 1 else parts[0] for parts in zip(*pairs, strict=True))
    return x, y
