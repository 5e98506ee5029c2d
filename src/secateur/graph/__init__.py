"""A network's structure: which tensors can be pruned, and which axes must be cut together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from secateur.graph import capture, flow, groups, repair, surgery
from secateur.graph.targets import targets
from secateur.types import Cut, Structure

__all__ = ["remove", "targets", "trace"]


def trace(model: nn.Module, example: Any, lanes: bool = False) -> Structure:
    """Export a network once and say which axes go together.

    Args:
        model: any module that ``torch.export`` takes.
        example: one input, a tuple of inputs, or a dict of keyword inputs.
        lanes: also offer the inner one of two free factors of one axis, such as the size of heads.

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: the network cannot be exported; the message carries the reason.
    """
    captured = capture.capture(model, example)
    found = flow.follow(model, captured)
    made, _ = groups.groups(model, found, lanes)
    return Structure(targets(model), tuple(made), groups.outputs(found))


def remove(model: nn.Module, cuts: Sequence[Cut]) -> nn.Module:
    """Remove the units that the cuts do not keep, physically, in a copy of the network."""
    kept = surgery.masks(model, cuts)
    small = surgery.sliced_copy(model, kept)
    repair.repair_known(small)
    return small
