"""What a criterion may ask for besides the weight itself, gathered only when it declares the need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.data.calibration import Calibration

DATA, LABELS = ("data",), ("data", "labels")
SOURCES: dict[str, tuple[str, ...]] = {
    "seed": ("seed",), "input_norm": DATA, "input_gram": DATA, "gradient": LABELS,
    "squared_gradient": LABELS, "hessian_gradient": LABELS, "movement": LABELS, "flow": ("example",),
    "unit_gram": DATA, "unit_mean": DATA, "unit_zeros": DATA, "outgoing": (), "scale": ()}
WORDS = {"data": "calibration inputs: pass data=", "labels": "labelled inputs: pass data=(inputs, labels)",
         "example": "an example input: pass example= or data="}


@dataclass(frozen=True)
class Signals:
    """The signals of one tensor; a field that nobody declared stays ``None``.

    Of any tensor:

    ``granularity``: what the items are, which says what shape the scores have.
    ``seed``: a whole number from which a criterion may draw at random, different for every tensor.
    ``gradient``: the mean gradient of the loss, in the shape of the scored ``weight``; needs labels.

    Of the weight of a linear or convolutional layer that computes ``x W' + b``; another is refused for
    ``input_norm``, ``input_gram`` and ``squared_gradient``. An input of a convolution is one place of its window:
    ``columns`` of them lie in the window of one output, counted as in ``weight[0].flatten()``:

    ``input_norm``: root mean square of every input, in a shape that multiplies ``weight``.
    ``input_gram``: mean product of any two inputs, ``(groups, columns, columns)``, one group unless the
        convolution is grouped; outputs ``o`` of group ``g`` are those of ``weight.chunk(groups)[g]``.
    ``squared_gradient``: mean over the samples of the squared gradient, in the shape of ``weight``; needs labels.
    ``hessian_gradient``: the Hessian of the loss times its gradient, in the shape of ``weight``; needs labels.
    ``movement``: the sum over one short training of gradient times weight, in the shape of ``weight``; needs labels.
    ``flow``: gradient of the sum of the outputs of the network with all weights made positive, for an input of ones.

    Of the units of a group, where ``weight`` is one row a unit; activations are the inputs of the layers that
    read the units, every place of a feature map a sample of its own:

    ``unit_gram``: mean product of the activations of any two units, ``(units, units)``.
    ``unit_mean``: mean activation, ``(units,)``.
    ``unit_zeros``: fraction of activations that are zero, ``(units,)``.
    ``outgoing``: the weights that read each unit, ``(units, values)``.
    ``scale``: absolute factor of the batch norm behind the unit, ``(units,)``.
    """

    granularity: str = "weight"
    seed: int | None = None
    gradient: Tensor | None = None
    input_norm: Tensor | None = None
    input_gram: Tensor | None = None
    squared_gradient: Tensor | None = None
    hessian_gradient: Tensor | None = None
    movement: Tensor | None = None
    flow: Tensor | None = None
    unit_gram: Tensor | None = None
    unit_mean: Tensor | None = None
    unit_zeros: Tensor | None = None
    outgoing: Tensor | None = None
    scale: Tensor | None = None


def have(signal: Tensor | None) -> Tensor:
    """A signal that was declared, hence is there."""
    assert signal is not None, "read a signal that is not declared in needs"
    return signal


def check_needs(what: str, needs: Iterable[str], samples: Calibration | None, example: Any) -> None:
    """Refuse work whose needs are not met, naming every missing one; there is always a seed.

    Args:
        what: who needs them, for the message.
        needs: names of fields of :class:`Signals`.
        samples, example: what there is to gather them from.

    Raises:
        SecateurError: a need is unknown or cannot be met.
    """
    there = {"data": samples is not None, "labels": samples is not None and samples.labelled, "seed": True,
             "example": example is not None or samples is not None}
    known, needs = {f.name for f in fields(Signals)}, sorted(needs)
    if strange := [n for n in needs if n not in known]:
        raise SecateurError(f"{what} declares unknown needs {', '.join(strange)}; allowed: {', '.join(sorted(known))}")
    lacking = {n: [s for s in SOURCES[n] if not there[s]] for n in needs}
    if wanted := dict.fromkeys(s for sources in lacking.values() for s in sources):
        words = [WORDS[s] for s in wanted if not (s == "data" and "labels" in wanted)]
        raise SecateurError(f"{what} needs {' and '.join(words)}")
