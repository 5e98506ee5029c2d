"""Thresholds: the greatest score that goes in each layer, as it is or as a moving average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from secateur.core.errors import SecateurError
from secateur.core.types import Cut
from secateur.pruning.granularity.base import Granularity, Layer


def thresholds(layers: Sequence[Layer], cuts: Sequence[Cut]) -> dict[str, float]:
    """The greatest score that goes in every layer under the cuts of a plan; 0 where nothing goes."""
    return {layer.name: float(layer.scores.detach().flatten().kthvalue(cut.removed).values) if cut.removed else 0.0
            for layer, cut in zip(layers, cuts, strict=True)}


def settled_thresholds(before: Mapping[str, float], held: Sequence[Cut], cuts: Sequence[Cut]) -> dict[str, float]:
    """The thresholds of the layers that lose nothing more: what is cut already scores less than all that lives."""
    pairs = zip(held, cuts, strict=True) if held else ()
    return {cut.name: before[cut.name] for past, cut in pairs
            if cut.name in before and past.removed and cut.removed and not (past.keep & ~cut.keep).any()}


def moving_average(now: Mapping[str, float], before: Mapping[str, float], decay: float) -> dict[str, float]:
    """The moving average ``decay * before + (1 - decay) * now``; what has no past starts at 0.

    >>> moving_average({"a": 1.0}, {}, 0.75), moving_average({"a": 1.0}, {"a": 0.5}, 0.5)
    ({'a': 0.25}, {'a': 0.75})
    """
    return {name: decay * before.get(name, 0.0) + (1 - decay) * value for name, value in now.items()}


def cut_by(layers: Sequence[Layer], cuts: Sequence[Cut], granularities: Sequence[Granularity],
           limits: Mapping[str, float]) -> tuple[Cut, ...]:
    """The cuts that remove every item whose score is not above its layer's threshold; a threshold of 0 removes none.

    Raises:
        SecateurError: a layer would be emptied that may not be.
    """
    made = []
    for layer, cut, granularity in zip(layers, cuts, granularities, strict=True):
        keep = (layer.scores > limits[layer.name]) | (layer.scores.new_tensor(limits[layer.name]) == 0)
        if granularity.keep_one and not keep.any():
            raise SecateurError(f"the moving threshold {limits[layer.name]:g} would remove all of '{layer.name}': use "
                                "a smaller threshold_decay")
        made.append(replace(cut, keep=granularity.cut(layer, keep.cpu()).keep))
    return tuple(made)
