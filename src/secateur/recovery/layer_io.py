"""Layer by layer: the inputs of a cut network's layer beside the outputs that the original's layer gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.data.batch import Batch
from secateur.data.forward import call, watch
from secateur.pruning.signals.unfold import groups_of, layers_with_inputs, rows_in, rows_out, without_padding
from secateur.recovery.layerwise_passes import Passes
from secateur.recovery.left_out import CALLED_AGAIN, is_frozen, layer_notes, left_out
from secateur.recovery.methods.base import RecoveryContext, RecoveryResult

ROWS = 1 << 18
"""How many rows of a layer are used by default: many more than a layer has inputs, so that more would say no more."""
_ROOM = 1 << 30
"""Bytes of rows that are kept; beyond, they are computed again."""
_JOINED = 1 << 12
"""Rows that are multiplied at once: small batches would spend their time on calls."""
RELUS = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_, Tensor.relu, Tensor.relu_}


@dataclass(frozen=True, eq=False)
class RefitLayer:
    """One layer of the cut network that may be refitted.

    ``original`` is the layer before the cut; ``support`` what of its weight stays, ``(outputs, columns)``, or None
    where all of it does; ``outputs`` which of the original's outputs it still gives; ``rectified`` whether nothing but
    a ReLU reads them; ``before`` are the layers that were refitted before it, ``layers`` those that may be in all;
    ``passes`` give what layers of the cut network and of the original see.
    """

    name: str
    module: nn.Module
    original: nn.Module
    support: Tensor | None
    outputs: Tensor | None
    rectified: bool
    before: tuple[str, ...]
    layers: tuple[str, ...]
    passes: tuple[Passes, Passes]

    @property
    def removed(self) -> int:
        """How many single weights went."""
        return 0 if self.support is None else int((~self.support).sum())


class _Readers(TorchFunctionMode):
    """Notes which functions read the output of each layer, for one call of a network."""

    def __init__(self, names: dict[nn.Module, str]):
        super().__init__()
        self.names, self.readers = names, dict[str, list[Any]]()
        self._tensors = dict[int, tuple[str, Tensor]]()

    def see_output(self, module: nn.Module, _: Any, output: Any) -> None:
        """A forward hook: this is the output of that layer."""
        name = self.names[module]
        if name in self.readers:
            self.readers[name].append(CALLED_AGAIN)
            return
        self.readers[name] = []
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
            # an id may be that of a new tensor whose predecessor is gone, hence the look at the tensor itself
            if id(value) in self._tensors and self._tensors[id(value)][1] is value:
                self.readers[self._tensors[id(value)][0]].append(reader)


def output_readers(model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
    """The linear and convolutional layers in the order in which a network calls them, with what reads each.

    A layer whose weight is no parameter of its own (a parametrization makes it) is none of them.
    """
    layers = {module: name for name, module in layers_with_inputs(model).items()}
    readers = _Readers(layers)
    with watch(model, dict.fromkeys(layers.values(), readers.see_output)), torch.no_grad():
        with readers:
            outputs = call(model, batch)
        readers.note("returned", outputs)
    return readers.readers


def _check_some_free(model: nn.Module) -> None:
    """Refuse a network whose every layer is frozen: none of it could be refitted."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, _ConvNd))]
    if layers and all(map(is_frozen, layers)):
        raise SecateurError(f"all {len(layers)} linear and convolutional layers are frozen (requires_grad is False), "
                            "and frozen layers are not refitted: call requires_grad_(True) on those to refit, or use "
                            "recovery none")


class RefitLayers:
    """The layers that can be refitted, in the order in which the cut network calls them.

    ``left_out`` says why others are not: a layer that either network calls twice or never (a fused path), that shares
    its weight with another, that is frozen, or that does not compute ``x W' + b``, stays as it is.

    Raises:
        SecateurError: all layers are frozen.
        UnsupportedError: the cut network is no module with the original's layers.
    """

    def __init__(self, context: RecoveryContext):
        _check_some_free(context.original)
        self.context, first = context, next(iter(context.data))
        self._original, self._pruned = (dict(n.named_modules()) for n in (context.original, context.pruned))
        self._readers, before = (output_readers(n, first) for n in (context.pruned, context.original))
        for name in self._readers:
            if not isinstance(self._original.get(name), (nn.Linear, _ConvNd)):
                raise UnsupportedError(f"layer '{name}' of the cut network has no counterpart in the original (it was "
                                       "cut as a graph): it cannot be refitted; use finetune")
        self._called = tuple(name for name, by in before.items() if CALLED_AGAIN not in by)
        self.left_out = left_out(context, self._readers, before)

    def __iter__(self) -> Iterator[RefitLayer]:
        context, before = self.context, list[str]()
        passes = (Passes(context.pruned, context.samples), context.asked.passes)
        for name, readers in self._readers.items():
            if name in self.left_out:
                continue
            weight = f"{name}.weight" if name else "weight"
            support = context.masks[weight].flatten(1) if weight in context.masks else None
            rectified = bool(readers) and set(readers) <= RELUS
            yield RefitLayer(name, self._pruned[name], self._original[name], support,
                             context.kept_units.get(weight, {}).get(0), rectified, tuple(before), self._called, passes)
            before.append(name)


class LayerRows:
    """Inputs of one layer of the cut network and outputs of the original's, as rows; gone through as often as needed.

    At most ``most`` rows of all batches are taken, evenly; they are kept where they fit a GiB.
    """

    def __init__(self, context: RecoveryContext, layer: RefitLayer, most: int = ROWS):
        self.samples, self.layer, self.most = context.data, layer, most

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._in_memory) if self._in_memory is not None else _join_rows(self._batches())

    @cached_property
    def _in_memory(self) -> list[tuple[Tensor, Tensor]] | None:
        """All rows, or None where they take more than a GiB and so are computed anew in every pass."""
        kept, size = [], 0
        for x, y in _join_rows(self._batches()):
            kept.append((x, y))
            size += 4 * (x.numel() + y.numel())
            if size > _ROOM:
                return None
        if not kept:
            raise SecateurError("data holds no samples to refit layers with")
        return kept

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """``(groups, rows, columns)`` and ``(groups, rows, outputs)`` of each batch."""
        layer, limit = self.layer, max(1, self.most // sum(1 for _ in self.samples))
        (cut, whole), module = layer.passes, layer.module
        for number, batch in enumerate(self.samples):
            x = rows_in(module, without_padding(module, batch, cut.input(layer.name, number, batch, layer.before)))
            y = rows_out(module, without_padding(module, batch, whole.output(layer.name, number, batch, layer.layers)))
            y = y if layer.outputs is None else y[:, layer.outputs.to(y.device)]
            if x.shape[1] != len(y):
                raise UnsupportedError(f"layer '{layer.name}' has {x.shape[1]} rows in the cut network, {len(y)} in "
                                       "the original: it cannot be refitted")
            step = -(-len(y) // limit)
            groups = groups_of(module)
            yield x[:, ::step], y[::step].view(-(-len(y) // step), groups, -1).transpose(0, 1)


def _join_rows(pairs: Iterator[tuple[Tensor, Tensor]], rows: int = _JOINED) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs put together until they hold so many rows, so that sums over them are made less often.

    >>> [len(x[0]) for x, _ in _join_rows(iter([(torch.zeros(1, 3, 2), torch.zeros(1, 3, 1))] * 3), 5)]
    [6, 3]
    """
    waiting: list[tuple[Tensor, Tensor]] = []
    for pair in pairs:
        waiting.append(pair)
        if sum(x.shape[1] for x, _ in waiting) >= rows:
            yield _concatenate(waiting)
            waiting = []
    if waiting:
        yield _concatenate(waiting)


def _concatenate(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if len(pairs) == 1:
        return pairs[0]
    xs, ys = zip(*pairs, strict=True)
    return torch.cat(xs, 1), torch.cat(ys, 1)


def refit_each(context: RecoveryContext, most: int, refit: Callable[[RefitLayer, LayerRows], int]) -> RecoveryResult:
    """The cut network after each of its layers was refitted in place, one after the other.

    Args:
        context: what is recovered.
        most: at most so many rows are shown for a layer.
        refit: refits one layer to its rows; gives how many rows it saw, 0 where it left the layer as it is.
    """
    rows = dict[str, tuple[int, int]]()
    layers = RefitLayers(context)
    for layer in layers:
        if seen := refit(layer, LayerRows(context, layer, most)):
            rows[layer.name] = (seen, layer.module.weight[0].numel())  # type: ignore[index,operator]
    return RecoveryResult(context.pruned, rows, tuple(layer_notes("not refitted", context.pruned, layers.left_out)))
