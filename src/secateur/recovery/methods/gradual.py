"""Gradual: cut little by little from the original network, while it trains."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from secateur import graph
from secateur.core.errors import UnsupportedError
from secateur.core.types import Cut, Plan
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.granularity.n_m import NM
from secateur.pruning.ranking import removal_count
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.settings import above, between, check, check_learns, whole
from secateur.training.loop import fit, steps_of
from secateur.training.pruner import Pruner
from secateur.training.schedules import Exponential


@dataclass(frozen=True)
class Gradual(Recovery):
    """Start again from the original network and cut it by magnitude while it trains, every cut taking the same
    fraction of what is left, down to what the plan leaves; then train on while the step size falls.

    Half of the loss is the divergence from the original network's outputs (Hinton et al., 2015), and weights are drawn
    to zero while they are still being cut (Han et al., NeurIPS 2015; Zhu and Gupta, 2017). Every layer loses
    as many items as the plan says; where the plan's scope is ``global`` and no settings of single layers, no ``least``
    and no ``most`` took part in it, all layers together do, in one competition.
    Which ones go is chosen anew, except under N:M, where the plan's masks are held. For weights and blocks, not for
    neurons.

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
        check("gradual", self, {
            **{name: whole(getattr(self, name), 1) for name in ("epochs", "batch_size", "every")},
            **{name: above(getattr(self, name), 0) for name in ("lr", "temperature")},
            "l1": between(self.l1, 0, math.inf), "distil": between(self.distil, 0, 1),
            "end": between(self.end, 0, 1) and self.end != 1, "begin": between(self.begin, 0, self.end)},
            "whole epochs, batch_size and every from 1, finite l1 from 0, finite lr and temperature above 0, distil in "
            "[0, 1], 0 <= begin <= end < 1")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Data, and labels unless all of the loss is distilled."""
        return frozenset({"data"}) if self.distil == 1 else frozenset({"data", "labels"})

    def chooses(self, kinds: frozenset[str]) -> bool:
        """Except under N:M."""
        return all(item.scored_as == "weight" and not isinstance(item, NM) for item in map(resolve, kinds))

    def recover(self, patient: Patient) -> nn.Module:
        """Another network than the cut one: the original's copy, trained and cut.

        Raises:
            UnsupportedError: the plan cuts neurons.
        """
        assert patient.samples is not None
        check_kept(patient.plan)
        check_learns("gradual", patient.original)
        student, teacher = copy.deepcopy(patient.original), copy.deepcopy(patient.original).eval()
        total = steps_of(patient.samples, self.epochs, self.batch_size)
        fit(student, patient.samples, self.epochs, lambda net, adam: self.pruner(net, adam, patient.plan, total),
            teacher if self.distil else None, lr=self.lr, batch_size=self.batch_size, hold=self.end, l1=self.l1,
            temperature=self.temperature, share=self.distil, seed=patient.seed)
        return student

    def pruner(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, total: int) -> Pruner:
        """The pruner that ends at what a plan leaves, in a training of so many steps."""
        if any(isinstance(item, NM) for item in kinds(plan)):
            return Pruner(model, plan, optimizer)
        end = round(self.end * total)
        schedule = Exponential(plan.reached, begin=round(self.begin * total), end=end, every=self.every, last=end)
        modules = {t.name: t.module for t in graph.targets(model)}
        cut = {modules[c.name] for c in plan.cuts}
        whole = sorted(set(modules.values()) - cut)
        if plan.scope == "global" and not plan.mixed and not plan.bounded:
            return Pruner(model, schedule, optimizer, granularity=plan.granularity, scope="global", skip=whole)
        settings = {module: rule_for([c for c in plan.cuts if modules[c.name] == module], plan) for module in cut}
        if set(modules.values()) == {""}:
            return Pruner(model, replace(schedule, target=settings[""]["sparsity"]), optimizer,
                          granularity=settings[""]["granularity"])
        return Pruner(model, schedule, optimizer, granularity=plan.granularity, layers=settings, skip=whole)


def kinds(plan: Plan) -> list[Granularity]:
    """What an item is in each of the layers of a plan."""
    return [resolve(cut.granularity or plan.granularity) for cut in plan.cuts]


def check_kept(plan: Plan) -> None:
    """Refuse plans that cut neurons: they are gone from the network, not zero."""
    if any(item.scored_as == "neuron" for item in kinds(plan)):
        raise UnsupportedError("recovery gradual takes plans of weights, blocks and N:M, got 'neuron': use reconstruct "
                               "and finetune, or sc.Pruner(granularity='neuron') in a training of your own")


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
    raise UnsupportedError(f"recovery gradual gives the tensors of one module one sparsity, which {counts} have not: "
                           "use finetune, which keeps what the plan keeps")
