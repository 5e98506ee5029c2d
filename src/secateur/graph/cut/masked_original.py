"""The original's own code with the removed units at zero: what a cut network gives for other batches and in training.

It is the truth only where it gives for the example what the masked graph gives: not where statistics go over units.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils import _pytree as pytree

from secateur.core.module_state import evaluating, same_random_numbers
from secateur.core.modules import stored_tensors
from secateur.core.pytree import repeat
from secateur.graph.cut.training import training_copy
from secateur.graph.example import double_batch
from secateur.graph.proof.float64 import eager_outputs, eager_tensors, give_back
from secateur.graph.proof.masked import MaskedCalls
from secateur.graph.proof.oracles import LIMIT, Trace, distance
from secateur.graph.proof.perturb import round_to_float32
from secateur.graph.weight_norms import names_held_wide


class ZeroedCopy:
    """A copy of a network, run in float64, perturbed, with the removed units at zero."""

    def __init__(self, model: nn.Module, trace: Trace, keeps: dict[int, Tensor], want: Sequence[Tensor]):
        self.example, self.several = (trace.first.args, trace.first.kwargs), len(trace.graphs) > 1
        self.source, self.trace = model, trace
        self.model = _masked_copy(model, trace, MaskedCalls(trace.flow, keeps, trace.perturb))
        self.first = self._tensors(self.model, self.example)
        every = [self._tensors(self.model, (c.args, c.kwargs)) for c in trace.graphs[1:]]
        self.true = distance([t for one in (self.first, *every) for t in one or ()], want) <= LIMIT
        self.others = [(batch, example, self._tensors(self.model, example))
                       for batch, example in batches(self.example)]
        self.path = ""

    @cached_property
    def is_traced(self) -> bool:
        """Whether the code itself, with all units, gives for the examples what its graph gives.

        It does not where it takes another path in a trace, or with gradients, which a trace has on.
        """
        if self.true:
            return True
        whole = _masked_copy(self.source, self.trace, MaskedCalls(self.trace.flow, {}, self.trace.perturb))
        got = [t for c in self.trace.graphs for t in self._tensors(whole, (c.args, c.kwargs)) or ()]
        return distance(got, self.trace.outputs(self.source, self.trace.perturb)) <= LIMIT

    def repeats(self, small: nn.Module) -> bool:
        """Whether a cut network gives at its second call what the network with the units at zero gives at its second.

        A trace keeps what the code has counted by then, as a number. True where nothing can be told.
        """
        want, got = (self._second_call(model) for model in (self.model, small))
        return not self.true or want is None or (got is not None and distance(got, want) <= LIMIT)

    def _second_call(self, model: nn.Module) -> list[Tensor] | None:
        with evaluating(model):
            try:
                eager_tensors(model, *self.example)
                return eager_tensors(model, *self.example)
            except Exception:
                return None

    @cached_property
    def alone(self) -> bool:
        """Whether no row of the example affects another: tried with the first row everywhere, and in reverse order."""
        size = _common_rows(self.example)
        if self.first is None or self.several:
            return False
        for order in (torch.zeros(size, dtype=torch.int64), torch.arange(size).flip(0)) if size > 1 else ():
            again = self._tensors(self.model, _pick_rows(self.example, order))
            if again is None or not _has_rows(again, self.first, order):
                return False
        return size > 1

    @staticmethod
    def _tensors(model: nn.Module, example: Any) -> list[Tensor] | None:
        try:
            with same_random_numbers():
                return eager_outputs(model, *example)
        except Exception:
            return None

    def other_batch(self, small: nn.Module) -> str:
        """Why a cut network is not right for another batch than the example's; "" if it is, or nothing can be told."""
        for batch, example, other in self.others:
            if other is None or self.first is None:
                continue
            got = self._tensors(small, example)
            if self.true and got is not None and distance(got, other) <= LIMIT:
                continue
            if not self.true and [t.shape for t in other] != [(batch, *t.shape[1:]) for t in self.first]:
                continue
            rows = torch.arange(batch) % _common_rows(self.example)
            steady = _has_rows(other, self.first, rows)
            if self.alone and not steady:
                self.path = (f"the code takes another path for a batch of {batch}; pass an example of each (a list of "
                             "examples)")
                return self.path
            mine = self._tensors(small, self.example) or []
            if self.true or (steady and (got is None or not _has_rows(got, mine, rows))):
                return (f"for a batch of {batch} its outputs differ from those of the network with the removed units "
                        "set to zero")
        return ""

    def training(self, small: nn.Module) -> str:
        """How a cut network in train mode differs from the original; "" if it does not, or nothing can be told.

        Nothing is told of a network that draws random numbers in train mode other than for dropout.
        """
        if not self.true:
            return ""
        for example in (self.example, double_batch(self.example)):
            runs = ((self.model, 0), (self.model, 1), (small, 0))
            want, again, got = (_train_outputs(model, example, seed) for model, seed in runs)
            if want is None or again is None or got is None:
                continue
            if distance(again, want) > 0 or distance(got, want) <= LIMIT:
                return ""
            return (f"in train mode the outputs differ by {distance(got, want):.1e} (relative) from those of the "
                    "network with the removed units set to zero: its training code or its norms depend on the number "
                    "of units")
        return ""


def _masked_copy(model: nn.Module, trace: Trace, masked: MaskedCalls) -> nn.Module:
    """A copy of a network with the masked tensors, made in their place: the old ones are never copied."""
    memo: dict[int, Any] = {}
    wide = names_held_wide(model)
    for name, tensor in stored_tensors(model).items():
        # A second name of a tensor is skipped: the first one's mask is for both.
        if id(tensor) in memo or (name not in trace.flow.stored and trace.flow.names.get(name, name) != name):
            continue
        value = masked.stored(name, tensor.detach()) if name in trace.flow.stored else trace.perturb(name, tensor)
        value = value.clone() if value.data_ptr() == tensor.data_ptr() else value.detach()
        value = round_to_float32(value, tensor, name in wide)
        memo[id(tensor)] = nn.Parameter(value, False) if isinstance(tensor, nn.Parameter) else value
    give_back()
    return copy.deepcopy(model, memo)


def _train_outputs(model: nn.Module, example: Any, seed: int) -> list[Tensor] | None:
    """What a copy of a network, which shares its parameters, gives in train mode without dropout; none where it does
    not run."""
    model = training_copy(model)
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            module.dropout = 0.0
    try:
        with same_random_numbers():
            torch.manual_seed(seed)
            return eager_tensors(model, *example)
    except Exception:
        return None


def _common_rows(example: Any) -> int:
    """The length of the first axis that all tensors of an example share; 0 where they share none."""
    sizes = {t.shape[0] if t.ndim else 0 for t in pytree.tree_leaves(example) if isinstance(t, Tensor)}
    return sizes.pop() if len(sizes) == 1 else 0


def _pick_rows(example: Any, rows: Tensor) -> Any:
    """Some rows of every tensor of an example."""
    return pytree.tree_map(lambda t: t[rows.to(t.device)] if isinstance(t, Tensor) else t, example)


def batches(example: Any) -> Iterator[tuple[int, Any]]:
    """The example at a batch of one and of one more than twice its own; none where its tensors share no first axis."""
    # An odd batch of no common factor with the example's: code with the batch written into it cannot take it by chance.
    size = _common_rows(example)
    for batch in sorted({1, 2 * size + 1} - {size}) if size else ():
        yield batch, repeat(example, batch)


def _has_rows(got: Sequence[Tensor], want: Sequence[Tensor], rows: Tensor) -> bool:
    """Whether outputs are these rows of other ones."""
    if len(got) != len(want) or any(not w.ndim or g.shape != (len(rows), *w.shape[1:]) or len(w) <= int(rows.max())
                                    for g, w in zip(got, want, strict=True)):
        return False
    return distance(got, [w[rows.to(w.device)] for w in want]) <= LIMIT
