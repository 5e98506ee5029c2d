"""Gradual: prune the original network step by step while it trains."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from secateur import graph
from secateur.core.bounds import Bound, above, at_least, between, check_settings, is_number, whole
from secateur.core.errors import UnsupportedError
from secateur.core.types import Cut, Plan
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.n_m import NM
from secateur.pruning.ranking import removal_count
from secateur.recovery.checks import check_learns
from secateur.recovery.methods.base import Recovery, RecoveryContext
from secateur.training.loop import fit, steps_of
from secateur.training.pruner import Pruner
from secateur.training.schedules import Exponential


@dataclass(frozen=True)
class Gradual(Recovery):
    """Start again from the original network and cut it by magnitude while it trains, every cut taking the same
    fraction of what is left, down to what the plan leaves; then train on while the step size falls.

    Half of the loss is the divergence from the original network's outputs (Hinton et al., 2015), and weights are drawn
    to zero while they are still being cut (Han et al., NeurIPS 2015; Zhu and Gupta, 2017). Every layer loses as many
    items as the plan says. Where the plan's scope is ``global``, without bounds and without settings of single layers,
    the layers compete, and together lose as many. Which items go is chosen anew, except under N:M, where the
    plan's masks are held. For weights and blocks, not for neurons.

    Attributes:
        epochs: passes over the samples.
        batch_size: samples a step.
        lr: Adam's step size, until ``end``; then it falls to zero along a cosine.
        l1: strength of the pull to zero until ``end``.
        distil: the part of the loss, in [0, 1], that is the divergence; at 1 no labels are needed.
        temperature: of the divergence.
        begin, end: of the cutting, as fractions of the training.
        every: steps from one choice to the next.

    >>> Gradual(distil=1.0).needs
    frozenset({'data'})
    """

    epochs: int = 5
    batch_size: int = 256
    lr: float = 2e-3
    l1: float = 2e-6
    distil: float = 0.5
    temperature: float = 2.0
    begin: float = 0.0
    end: float = 0.6
    every: int = 50

    def __post_init__(self) -> None:
        order = "numbers with 0 <= begin <= end < 1"
        check_settings("gradual", vars(self), epochs=whole(1), batch_size=whole(1), every=whole(1), lr=above(0),
                       temperature=above(0), l1=at_least(0), distil=between(0, 1),
                       end=Bound(order, lambda end: is_number(end) and 0 <= end < 1),
                       begin=Bound(order, lambda begin: is_number(begin) and 0 <= begin <= self.end))

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Data, and labels unless all of the loss is distilled."""
        return frozenset({"data"}) if self.distil == 1 else frozenset({"data", "labels"})

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Where weights and blocks are cut, but not under N:M."""
        return all(item.scored_as == "weight" and not isinstance(item, NM) for item in map(resolve, kinds))

    def recover(self, context: RecoveryContext) -> nn.Module:
        """Another network than the cut one: the original's copy, trained and cut.

        Raises:
            UnsupportedError: the plan cuts neurons.
        """
        if any(resolve(item).scored_as == "neuron" for item in context.granularities):
            raise UnsupportedError("recovery gradual supports weights, blocks and N:M, got 'neuron': use reconstruct "
                                   "and finetune, or sc.Pruner(granularity='neuron') in your own training loop")
        check_learns("gradual", context.original)
        student = copy.deepcopy(context.original)
        total = steps_of(context.data, self.epochs, self.batch_size)
        fit(student, context.data, self.epochs, lambda net, optimizer: self._pruner(net, optimizer, context, total),
            teacher=copy.deepcopy(context.original) if self.distil else None, lr=self.lr, batch_size=self.batch_size,
            hold=self.end, l1=self.l1, temperature=self.temperature, share=self.distil, seed=context.seed)
        return student

    def _pruner(self, model: nn.Module, optimizer: torch.optim.Optimizer, context: RecoveryContext,
                total: int) -> Pruner:
        """The pruner that ends at what a plan leaves, in a training of so many steps."""
        plan = context.plan
        if any(isinstance(resolve(item), NM) for item in context.granularities):
            return Pruner(model, plan, optimizer)
        end = round(self.end * total)
        schedule = Exponential(plan.reached, begin=round(self.begin * total), end=end, every=self.every, last=end)
        modules = {t.name: t.module for t in graph.targets(model)}
        cut = {modules[c.name] for c in plan.cuts}
        uncut = {module: {"skip": True} for module in sorted(set(modules.values()) - cut)}
        if plan.scope == "global" and not plan.mixed and not plan.bounded:
            return Pruner(model, schedule, optimizer, granularity=plan.granularity, scope="global", skip=(),
                          layers=uncut)
        settings = {module: rule_for([c for c in plan.cuts if modules[c.name] == module], plan) for module in cut}
        if set(modules.values()) == {""}:
            return Pruner(model, replace(schedule, target=settings[""]["sparsity"]), optimizer,
                          granularity=settings[""]["granularity"], skip=())
        return Pruner(model, schedule, optimizer, granularity=plan.granularity, skip=(), layers=settings | uncut)


def rule_for(cuts: Sequence[Cut], plan: Plan) -> dict[str, Any]:
    """The setting of a module under which its tensors lose as many items as in a plan.

    Raises:
        UnsupportedError: no one sparsity gives the counts of all its tensors.

    >>> import torch
    >>> cut = Cut("0.weight", torch.tensor([[True, False, False]]))
    >>> round(rule_for([cut], Plan("weight", "", "", 0.5, (cut,), {}))["sparsity"], 4)
    0.6667
    """
    for sparsity in (*(cut.removed / cut.items for cut in cuts), plan.sparsity):
        if all(removal_count(cut.items, sparsity) == cut.removed for cut in cuts):
            return {"sparsity": sparsity, "granularity": cuts[0].granularity or plan.granularity}
    counts = ", ".join(f"{cut.removed} of {cut.items} in '{cut.name}'" for cut in cuts)
    raise UnsupportedError(f"recovery gradual needs one sparsity for all tensors of a module, got {counts}: use "
                           "finetune, which keeps what the plan keeps")
