"""Looking before cutting: what a network's structure is, and what a plan would save."""

from __future__ import annotations

import copy
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from secateur import graph
from secateur.core.module_state import evaluating
from secateur.core.types import Plan, Structure
from secateur.graph.check import check_module
from secateur.graph.example import check_example, inputs
from secateur.measure.flops import flops_of, work
from secateur.measure.latency import interleave
from secateur.measure.size import size
from secateur.pruning.apply import carry_out, check_plan

_SECONDS = 0.2
"""Seconds of timing: a median of many calls for small networks, no wait before a cut for large ones."""
_ZEROS = "zeros are not counted among parameters and FLOPs; torch still multiplies by them, secateur.compile skips them"


@dataclass(frozen=True)
class DryRun:
    """Parameters, FLOPs and milliseconds of one forward pass of the example, each before and after the cut.

    ``notes`` say what had to be set in the network besides its tensors.
    """

    parameters: tuple[int, int]
    flops: tuple[int, int]
    ms: tuple[float, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [("parameters", *self.parameters), ("FLOPs", *self.flops), ("ms", *self.ms)]
        lines = [f"{name}: {old:,.6g} -> {new:,.6g} ({new / max(old, 1e-12):.1%})" for name, old, new in rows]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def targets(model: nn.Module, example: Any = None, inner: bool = False) -> Structure:
    """What can be cut: the layers with weights, and with an example the groups of neurons.

    Args:
        model: any module.
        example: one input, a tuple of them, or a dict of keyword inputs.
        inner: also offer the inner one of two free factors of one axis, such as the size of heads.

    >>> _ = torch.manual_seed(0)
    >>> print(targets(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(8, 4)))
    2 layers with weights that can be cut; 1 of 2 groups of neurons can be cut, 3 units; outputs made by 2
      0: 3 x neuron (linear.py:134), 21 parameters are removed with them; 0.weight[0], 0.bias[0], 2.weight[1]
      2: 2 x neuron (linear.py:134), stays: it reaches the network's output; 2.weight[0], 2.bias[0]
    """
    check_module("targets", model)
    with evaluating(model):
        return Structure(graph.targets(model)) if example is None else graph.trace(model, example, inner)


def dry_run(model: nn.Module, plan: Plan, example: Any) -> DryRun:
    """What a plan would save, measured on a cut copy that is thrown away.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> from secateur import plan
    >>> x = torch.zeros(1, 4)
    >>> dry_run(net, plan(net, 0.5, granularity="neuron", example=x), x).parameters
    (58, 30)
    """
    check_plan("dry_run", model, plan)
    with evaluating(model):
        check_example(model, example)
        removal = carry_out(model, plan, example=example)
        small = removal.network
        zeros = not any(cut.group for cut in plan.cuts)
        parameters = size(model)["parameters"], size(small)["nonzeros" if zeros else "parameters"]
        flops = work(model, example).flops, flops_of(small, example, zeros)
        return DryRun(parameters, flops, _milliseconds(model, small, example),
                      (*removal.notes, *((_ZEROS,) if zeros and plan.removed else ())))


def _milliseconds(model: nn.Module, small: nn.Module, example: Any) -> tuple[float, float]:
    """The median times of a forward pass of two networks in milliseconds, measured in turns."""
    args, kwargs = copy.deepcopy(inputs(example))
    with torch.no_grad():
        times = interleave({"old": lambda: model(*args, **kwargs), "new": lambda: small(*args, **kwargs)}, _SECONDS)
    return statistics.median(times["old"]) * 1e3, statistics.median(times["new"]) * 1e3
