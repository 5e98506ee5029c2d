"""The two proofs of a cut, in float64: the grouping by permutation, the cut network by masking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from secateur.core.errors import UnsupportedError
from secateur.core.types import Group
from secateur.graph.calls import describe_call
from secateur.graph.capture import FlatGraph
from secateur.graph.flow import Flow
from secateur.graph.proof import reference
from secateur.graph.proof.masked import MaskedCalls
from secateur.graph.proof.perturb import Perturbation

# Rounding in float64 moves outputs by some 1e-15 of their size, a misplaced unit by tenths: the limit lies between.
LIMIT = 1e-6


@dataclass(eq=False)
class Trace:
    """A network's graphs, one an example, with their axes, the leaf of every group, and whether the grouping is proved.
    """

    graphs: tuple[FlatGraph, ...]
    flow: Flow
    leaf_of: dict[str, int]
    proved: bool = False
    perturb: Perturbation = field(default_factory=Perturbation)

    @property
    def first(self) -> FlatGraph:
        """The graph of the first example."""
        return self.graphs[0]

    def operator_of(self, group: Group) -> str:
        """The operator that first uses a group's tensors, with the line of the model's source; "" if none does."""
        uses = self.flow.first_use
        return next((describe_call(uses[m.tensor]) for m in group.members if m.tensor in uses), "")

    def outputs(self, model: nn.Module, change: reference.Change, call: reference.Caller | None = None) -> list[Tensor]:
        """What all graphs give, with the network's stored tensors as ``change`` gives them."""
        return [t for one in self.graphs for t in reference.run(model, one, self.flow, change, call)]


def distance(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    """The greatest difference between two lists of outputs, relative to the size of each wanted one.

    Outputs of another number or shape are infinitely far; so is NaN on one side alone.
    """
    if len(got) != len(want):
        return float("inf")
    return max((apart(g, w) for g, w in zip(got, want, strict=True)), default=0.0)


def apart(got: Tensor, want: Tensor) -> float:
    """The greatest difference between two tensors, relative to the size of the second.

    A second tensor without one finite value proves nothing: that is infinitely far too.
    """
    if got.shape != want.shape:
        return float("inf")
    if not want.is_floating_point() and not want.is_complex():
        return float(not torch.equal(got, want))
    same = (got == want) | (got.isnan() & want.isnan())
    difference = torch.where(same, 0.0, (got - want).abs())
    finite = want[want.isfinite()].abs()
    if want.numel() and not finite.numel():
        return float("inf")
    size = float(finite.max()) if finite.numel() else 1.0
    worst = float(difference.max()) if difference.numel() else 0.0
    return worst / (size or 1.0) if worst == worst else float("inf")


def permuted_outputs(model: nn.Module, trace: Trace, leaves: Sequence[int], seed: int = 0) -> list[Tensor]:
    """The outputs with the units of some leaves in a random order, in every stored tensor."""
    axes, stored = trace.flow.axes, trace.flow.stored
    noise = torch.Generator().manual_seed(seed)
    orders = {leaf: torch.randperm(axes.sizes[leaf], generator=noise) for leaf in leaves}

    def reordered(name: str, tensor: Tensor) -> Tensor:
        for dim, axis in enumerate(stored[name].axes):
            if axes.contains_any(axis, orders):
                tensor = tensor.index_select(dim, axes.order(axis, orders).to(tensor.device))
        return tensor

    def change(name: str, tensor: Tensor) -> Tensor:
        return trace.perturb(name, tensor, lambda t: reordered(name, t))

    return trace.outputs(model, change)


def prove_groups(model: nn.Module, trace: Trace, groups: Sequence[Group]) -> float:
    """Permute the units of all groups that can be cut: a right grouping leaves the outputs as they are.

    Returns:
        The relative difference, rounding only.

    Raises:
        UnsupportedError: it is more than rounding; the message names the group and its line.
    """
    free = [g for g in groups if g.cuttable]
    before = trace.outputs(model, trace.perturb)
    error = distance(permuted_outputs(model, trace, [trace.leaf_of[g.name] for g in free]), before)
    if not error <= LIMIT:
        wrong = next((g for g in free if not distance(permuted_outputs(model, trace, [trace.leaf_of[g.name]]), before)
                      <= LIMIT), None)
        what = f"group '{wrong.name}' ({trace.operator_of(wrong) or 'not used'})" if wrong else "the groups together"
        raise UnsupportedError(f"the grouping is not proved: permuting the units of {what} changes the outputs by "
                               f"{error:.1e} (relative), allowed {LIMIT:g}")
    trace.proved = True
    return error


def masked_outputs(model: nn.Module, trace: Trace, keeps: dict[int, Tensor]) -> list[Tensor]:
    """What a network without the removed units must give: the whole graph with these units masked."""
    masked = MaskedCalls(trace.flow, keeps, trace.perturb)
    return trace.outputs(model, masked.stored, masked.call)
