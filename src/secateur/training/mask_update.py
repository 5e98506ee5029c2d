"""Chooses what goes at a step: the plan that ``sc.plan`` would make for the network as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from secateur.core.bounds import between, check_settings
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Plan, Structure
from secateur.data.calibration import Calibration
from secateur.pruning.granularity import resolve
from secateur.pruning.scopes.budget import Budget
from secateur.pruning.selection import Selection
from secateur.pruning.signals.collect import tensor_seed
from secateur.pruning.spec import PruningSpec
from secateur.training.keep_pruned import keep_pruned
from secateur.training.regrowth.base import Regrowth, exchange
from secateur.training.thresholds import cut_by, moving_average, settled_thresholds, thresholds


@dataclass
class Chooser:
    """What is chosen how, and what is read from the network once: its structure and its output layers.

    ``decay`` is that of the thresholds. The sparsities of single layers are targets that move in proportion to the
    network's.

    Raises:
        SecateurError: a decay that is no number in [0, 1), or scope ``budget``.
    """

    spec: PruningSpec
    decay: float
    samples: Calibration | None = None
    example: Any = None
    structure: Structure | None = None
    outputs: tuple[str, ...] | None = None
    frozen: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_settings("", {"threshold_decay": self.decay}, threshold_decay=between(0, 1, with_high=False))
        self.decay = float(self.decay)
        if isinstance(self.spec.scope_item, Budget):
            raise SecateurError("scope 'budget' sets the sparsity itself, but here a schedule does: use another "
                                "scope, or give the pruner the plan that sc.plan(..., scope='budget') makes")

    def __str__(self) -> str:
        spec, item, scope = self.spec, self.spec.granularity_item, self.spec.scope_item
        names = (one if isinstance(one, str) else type(one).__name__ for one in spec.skip or ())
        skip = tuple(dict.fromkeys((*names, *(self.outputs or ()))))
        bounds = "" if scope == type(scope)() else f"({scope.min_sparsity:g} to {scope.max_sparsity:g})"
        settings = {"pooling": "mean", **{f.name: getattr(item, f.name) for f in fields(item)}}
        rounded = f", round_to={settings['round_to']}" if settings.get("round_to", 1) != 1 else ""
        return (f"granularity={item.name}, criterion={_criterion_name(spec.criterion)}, scope={scope.name}{bounds}, "
                f"skip={skip}, layers={spec.layers}, seed={spec.seed}, pooling={settings['pooling']}{rounded}, "
                f"threshold_decay={self.decay}")

    def choose(self, model: nn.Module, sparsity: float, share: float, before: Mapping[str, float],
               held: Sequence[Cut] = ()) -> tuple[Plan, dict[str, float]]:
        """The plan at a sparsity and the threshold of every layer.

        Args:
            model: the network as it is; what is cut is zero in it.
            sparsity: what is asked for.
            share: ``sparsity`` as a fraction of the target.
            before: the thresholds so far.
            held: what is cut so far.
        """
        selection = self._selection(model, share)
        plan = selection.plan(sparsity)
        limits = {**thresholds(selection.layers, plan.cuts), **settled_thresholds(before, held, plan.cuts)}
        if not self.decay:
            return plan, limits
        limits = moving_average(limits, before, self.decay)
        return replace(plan, cuts=cut_by(selection.layers, plan.cuts, selection.granularities, limits)), limits

    def _selection(self, model: nn.Module, share: float) -> Selection:
        layers = _scale_sparsities(self.spec.layers, share) if self.spec.layers else self.spec.layers
        own = [resolve(one["granularity"]) for one in (self.spec.layers or {}).values()
               if isinstance(one, Mapping) and one.get("granularity") is not None]
        criterion = keep_pruned(self.spec.criterion, self.spec.granularity_item, own)
        made = Selection(model, replace(self.spec, layers=layers, criterion=criterion), samples=self.samples,
                         example=self.example, structure=self.structure, outputs=self.outputs,
                         frozen=self.frozen)
        # What is frozen is asked once: a loop that freezes layers later still cuts them.
        self.structure, self.outputs, self.frozen = made.structure, made.outputs, made.frozen
        return made


def _criterion_name(criterion: Any) -> str:
    """What a criterion is called, the same in every process."""
    return criterion if isinstance(criterion, str) else getattr(criterion, "__qualname__", type(criterion).__qualname__)


def _scale_sparsities(layers: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Settings of single layers with every sparsity brought to a share of itself.

    >>> _scale_sparsities({"fc1": 0.5, "fc2": {"sparsity": 0.8, "granularity": "4x1"}}, 0.5)
    {'fc1': 0.25, 'fc2': {'sparsity': 0.4, 'granularity': '4x1'}}
    """
    def one(given: Any) -> Any:
        if isinstance(given, Mapping):
            return {k: v * share if k == "sparsity" and v is not None else v for k, v in given.items()}
        return given * share
    return {name: one(given) for name, given in layers.items()}


def exchange_weights(cuts: Sequence[Cut], model: nn.Module, how: Regrowth,
                     progress: float, seed: int) -> tuple[Cut, ...]:
    """The cuts after an exchange of living weights for cut ones, layer by layer.

    Raises:
        SecateurError: gradients are needed and a weight has none.
    """
    made = []
    for cut in cuts:
        weight = model.get_parameter(cut.name)
        if how.gradients and weight.grad is None:
            raise SecateurError(f"regrowth {how} needs the gradient of '{cut.name}', which has none: call "
                                "pruner.step() after optimizer.step() and before zero_grad(), and skip what is frozen")
        draws = torch.Generator().manual_seed(tensor_seed(seed, cut.name))
        worth = how.score(weight.detach(), weight.grad, draws)
        keep = cut.keep.to(weight.device)
        keep = exchange(weight.detach(), keep, worth, how.count(int(keep.sum()), progress))
        made.append(replace(cut, keep=keep.cpu()))
    return tuple(made)
