"""Prunes a network while any training loop trains it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core import registry
from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Plan
from secateur.data.calibration import calibration
from secateur.graph.check import check_module
from secateur.pruning.apply import apply, check_fits
from secateur.pruning.arguments import refuse_wrong_arguments
from secateur.pruning.criteria.base import CriterionChoice
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.granularity.weight import Weight
from secateur.pruning.layer_rules import resolve_skip
from secateur.pruning.scopes import ScopeChoice
from secateur.pruning.spec import PruningSpec, check_no_recovery, spec_from
from secateur.training import masks, state
from secateur.training.mask_update import Chooser, exchange_weights
from secateur.training.regrowth.base import Regrowth
from secateur.training.sparsity_source import SparsitySource, as_source, check_fixed_sparsity, check_regrowth


class Pruner:
    """Cuts a network in place while it is trained: call :meth:`step` after every ``optimizer.step()``.

    What is cut is zero after every step, whatever the optimizer's momentum holds. The network stays a plain one:
    no hooks, no buffers, no wrappers. What goes is chosen anew, by the plan that ``sc.plan`` would make for the
    network as it is then, at step 0 and whenever the schedule says so. A weight that is zero is worth less than any
    other and so stays cut; weights come back, from zero, where the sparsity falls or a regrowth brings them.
    Where several processes train together, the masks of rank 0 hold on all.

    Args:
        model: the network that is trained.
        schedule: a schedule (``secateur.training.schedules``); a plan, whose cuts then stay as they are; a sparsity,
            held from the start; a tensor of one value that training code fills, or a function of the step.
        optimizer: its state is set to zero for weights that come back.
        granularity, criterion, scope, skip, layers, data, example, seed, spec: as in :func:`secateur.prune`. Neurons
            are held at zero with all that the network ties to them, and removed for good by :meth:`finish`. ``data``
            is gone through anew at every choice. A layer's own sparsity is its target and moves in proportion to the
            network's.
        threshold_decay: the weight of the past in a moving average of each layer's threshold, in [0, 1). Above
            0 the number removed follows the schedule late and not exactly, as in tf.contrib.model_pruning.
        regrow: ``"set"``, ``"rigl"`` or a :class:`~secateur.training.regrowth.base.Regrowth`.
        saved: what :meth:`state_dict` gave; the pruner goes on from there, and the weights stay as they are.

    Raises:
        SecateurError: as ``sc.plan``; a regrowth of anything but weights, or that would exchange nothing; a state of
            other settings.

    >>> from secateur.training.schedules import Polynomial
    >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> pruner = Pruner(net, Polynomial(0.75, end=20, every=5), optimizer)
    >>> for _ in range(20):
    ...     net(torch.randn(16, 8)).square().mean().backward()
    ...     optimizer.step()
    ...     pruner.step()
    ...     optimizer.zero_grad()
    >>> int((net[0].weight == 0).sum()), pruner.reached
    (24, 0.75)
    """

    @refuse_wrong_arguments
    def __init__(self, model: nn.Module, schedule: Any, optimizer: torch.optim.Optimizer | None = None, *,
                 granularity: GranularityChoice = "weight", criterion: CriterionChoice = None,
                 scope: ScopeChoice = "layer", skip: Sequence[str | nn.Module] | None = None,
                 layers: Mapping[str, Any] | None = None, data: Any = None, example: Any = None, seed: int = 0,
                 spec: PruningSpec | None = None, threshold_decay: float = 0.0, regrow: str | Regrowth | None = None,
                 saved: Mapping[str, Any] | None = None):
        check_module("Pruner", model)
        chosen = spec_from(spec, "Pruner", granularity=granularity, criterion=criterion, scope=scope, skip=skip,
                           layers=layers, seed=seed)
        check_no_recovery("Pruner", chosen, "but the training recovers here")
        resolve_skip(model, chosen.skip or ())
        if optimizer is not None and not hasattr(optimizer, "state"):
            raise SecateurError(f"optimizer {optimizer!r}: allowed is a torch.optim.Optimizer, or none")
        self.model, self.optimizer, self.steps = model, optimizer, 0
        self.thresholds: dict[str, float] = {}
        self._live: float | None = None
        self._cut: masks.Masks = {}
        self._chooser = Chooser(chosen, threshold_decay, calibration(data), example)
        self._regrow = _regrowth_of(regrow, chosen.granularity_item)
        self._source: SparsitySource | None = None if isinstance(schedule, Plan) else as_source(schedule)
        if self._source is not None:
            check_fixed_sparsity(self._source, chosen.granularity_item)
        check_regrowth(self._regrow, schedule if self._source is None else self._source)
        if isinstance(schedule, Plan):
            check_fits(model, schedule)
        self._plan = schedule if isinstance(schedule, Plan) else self._choose(0.0, ())
        self._take(self._plan)
        if saved is not None:
            self.load_state_dict(saved)
        elif self._source is not None and self._source.due(0):
            self._take(masks.broadcast_plan(self._choose(self.sparsity, self._plan.cuts), model))
        self.enforce()

    def step(self) -> None:
        """Count one step of the optimizer, choose anew where the schedule says so, and set what is cut to zero."""
        self.steps += 1
        if self._source is not None and self._source.due(self.steps):
            self.update()
        self.enforce()

    def update(self) -> None:
        """Choose anew now, at the sparsity that is asked for now.

        Raises:
            SecateurError: the pruner was given a plan, which does not change.
        """
        self._check_moves()
        self.enforce()
        plan = self._choose(self.sparsity, self._plan.cuts)
        if self._regrow is not None and plan.removed:
            seed = self._chooser.spec.seed + self.steps
            cuts = exchange_weights(plan.cuts, self.model, self._regrow, self.progress, seed)
            plan = replace(plan, cuts=cuts)
        self._take(masks.broadcast_plan(plan, self.model))

    def enforce(self) -> None:
        """Set what is cut to zero, in place."""
        masks.zero(self.model, self._cut)

    def mask_gradients(self) -> None:
        """Set the gradients of what is cut to zero: call it before gradients are clipped by their norm."""
        for name, gone in self._cut.items():
            gradient = self.model.get_parameter(name).grad
            if gradient is not None:
                gradient.masked_fill_(gone, 0)

    @property
    def sparsity(self) -> float:
        """The sparsity that is asked for now; a value set here holds in place of the schedule's, until None is set."""
        if self._source is None:
            return self._plan.sparsity
        return self._source.at(self.steps) if self._live is None else self._live

    @sparsity.setter
    def sparsity(self, value: float | None) -> None:
        self._check_moves()
        self._live = None if value is None else check_sparsity(value)

    @property
    def reached(self) -> float:
        """The sparsity that the network has now."""
        return self._plan.reached

    @property
    def progress(self) -> float:
        """How far the schedule is, in [0, 1]; 1 for a plan."""
        return 1.0 if self._source is None else self._source.progress(self.steps)

    @property
    def plan(self) -> Plan:
        """What is cut now, as a plan that ``sc.apply`` carries out."""
        return self._plan

    @property
    def masks(self) -> dict[str, Tensor]:
        """What is kept of each parameter that is pruned: bool, in its shape."""
        return dict(self._masks)

    def summary(self) -> list[dict[str, Any]]:
        """One record a layer: name, items, removed, sparsity, threshold (the greatest removed score)."""
        return [{**layer, "threshold": self.thresholds.get(layer["name"], 0.0)} for layer in self._plan.layers()]

    def __str__(self) -> str:
        lines = [f"step {self.steps}: sparsity {self.reached:.4f}, asked {self.sparsity:.4f}"]
        lines += [f"  {r['name']}: {r['removed']} of {r['items']} ({r['sparsity']:.4f}), threshold {r['threshold']:.4g}"
                  for r in self.summary()]
        return "\n".join(lines)

    def finish(self) -> nn.Module:
        """A plain copy of the pruned network: zeros in place of removed weights, neurons physically removed.

        Raises:
            SecateurError: neurons that cannot be removed; the message carries the reason.
        """
        self.enforce()
        if self._plan.granularity == "neuron" and self._plan.removed:
            return apply(self.model, self._plan)
        return copy.deepcopy(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Masks, step, live sparsity, thresholds: tensors and plain values. The weights are the network's own."""
        return state.state_of(self._settings(), self.steps, self._live, self._plan, self.thresholds)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state; load the network's and the optimizer's after the pruner is made.

        Raises:
            SecateurError: a state of other settings or of another network.
        """
        state.check_state(saved, self._settings())
        self.steps, self._live = saved["steps"], saved["live"]
        self.thresholds = dict(saved["thresholds"])
        self._take(state.plan_from(self._plan, saved), reset=False)

    def _check_moves(self) -> None:
        if self._source is None:
            raise SecateurError("the pruner follows a plan, which is fixed: pass a schedule instead")

    def _settings(self) -> str:
        schedule = "a plan" if self._source is None else str(self._source)
        return f"{schedule}; {self._chooser}; regrow={self._regrow}"

    def _choose(self, sparsity: float, held: Sequence[Cut]) -> Plan:
        target = getattr(self._source, "target", None)
        plan, self.thresholds = self._chooser.choose(self.model, sparsity, sparsity / target if target else 1.0,
                                                     self.thresholds, held)
        return plan

    def _take(self, plan: Plan, reset: bool = True) -> None:
        """Put a plan's masks in force; weights that come back start without a past."""
        made = masks.masks_of(self.model, plan.cuts)
        if reset and self.optimizer is not None:
            back = {n: keep & self._cut[n] for n, keep in made.items() if n in self._cut}
            masks.forget(self.optimizer, self.model, back)
        self._plan, self._masks = plan, made
        self._cut = {name: ~keep for name, keep in made.items() if not keep.all()}


def _regrowth_of(given: str | Regrowth | None, granularity: Granularity) -> Regrowth | None:
    """The regrowth behind a name.

    Raises:
        SecateurError: an unknown name, or another granularity than ``weight``.
    """
    if given is None:
        return None
    if granularity != Weight():
        raise SecateurError(f"regrow with granularity '{granularity.name}': allowed is granularity 'weight'")
    return registry.item("regrowth", given)
