"""Distil: train what is left, end to end, towards the original's outputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from secateur.core.bounds import above, at_least, check_settings, whole
from secateur.core.errors import SecateurError
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.measure.flops import flop_counter
from secateur.recovery.distil_loop import DistilError, Distillation
from secateur.recovery.flat_weights import Projection
from secateur.recovery.methods.base import Recovery, RecoveryContext, RecoveryResult
from secateur.recovery.original import Original
from secateur.recovery.stages import stage

_EPOCHS = 20
"""The default takes no more epochs than this: further ones gave nothing on the study's networks."""
_LEAST_STEPS = 64
_WORK = 2**41
"""The default takes about so many FLOPs, but at least ``_LEAST_STEPS`` steps: half a minute of two cores."""
_TIMES_FORWARD = 3
"""A step costs about so many calls: one forward, and backward by inputs and by weights."""


@dataclass(frozen=True)
class Distil(Recovery):
    """Train all that is left of the cut network, end to end, towards the original's outputs for the same inputs (Hinton
    et al., 2015). It needs no labels and no formula of a layer: whatever has a gradient takes part. Zeros stay zero,
    batch norms keep their statistics, frozen parameters stay as they are.

    An eighth of the samples is held out. The network with the least loss on it is returned, which may be the one that
    came in. The loss follows from what the original gives, see :func:`secateur.recovery.output_loss.loss_for`.

    Attributes:
        steps: at most so many steps of Adam; 0 takes what the sizes of network and data suggest, up to 20 epochs.
            Training ends earlier where the loss on the samples held out no longer falls.
        lr: the largest step size, which is scaled down where the network is near the original from the start; it falls
            to zero along a cosine.
        batch_size: samples a step.
        seconds: where above zero, no further step is taken after so many; which network comes out then depends on the
            machine, and a note says so.
        augment: gets the inputs of every step and gives as many back, moved or mixed, drawn from torch's global
            generator; the original is then asked at every step about what the network sees.

    >>> Distil(steps=100).needs
    frozenset({'data'})
    """

    steps: int = 0
    lr: float = 3e-3
    batch_size: int = 128
    seconds: float = 0.0
    augment: Callable[..., Any] | None = None
    needs = frozenset({"data"})

    def __post_init__(self) -> None:
        check_settings("distil", vars(self), steps=whole(0), lr=above(0), batch_size=whole(1), seconds=at_least(0))
        if self.augment is not None and not callable(self.augment):
            raise SecateurError(f"distil augment={self.augment!r}; allowed is a function from inputs to inputs, or "
                                "None")

    def recover(self, context: RecoveryContext, project: Projection | None = None) -> RecoveryResult:
        """The cut network after training.

        Args:
            context: what is recovered.
            project: what the network is given in place of the values learned, such as these rounded.
        """
        model, original, began = context.pruned, context.asked, time.perf_counter()
        if original.few:
            return RecoveryResult(model, notes=(f"not distilled: {original.few}",))
        try:
            training = self.training(context, project)
            training.run()
        except (SecateurError, DistilError) as error:
            return RecoveryResult(model, notes=(f"not distilled: {error}",))
        return self.result(training, original.parts[1], time.perf_counter() - began)

    def training(self, context: RecoveryContext, project: Projection | None = None) -> Distillation:
        """The training of a cut network, not yet run.

        Raises:
            SecateurError: the outputs are none that one can learn from.
        """
        fit, held = context.asked.parts
        goals = fit.goals if self.augment is None else fit.moving_goals(self.augment)
        return Distillation(context.pruned, goals, held.goals, fit.loss, self._steps(context.pruned, fit.samples),
                            self.batch_size, self.lr, list(context.masks), self.seconds, context.seed,
                            context.data.stream, project)

    def result(self, training: Distillation, held: Original, seconds: float) -> RecoveryResult:
        """What came out of a training that took so many seconds."""
        notes: tuple[str, ...] = ()
        if training.thinning is None and not training.after < training.before:
            why = f": {training.ended}" if training.ended else ""
            notes = (f"not distilled: none of {training.taken} steps brought the outputs for held-out samples closer "
                     f"to the original's{why}",)
        elif training.ended:
            notes = (f"distilled: {training.ended}",)
        chosen = ", weights chosen anew on the way" if training.thinning is not None else ""
        done = stage("distilled", training.student, held, seconds,
                     f"{training.taken} steps by {training.loss}{chosen}")
        return RecoveryResult(training.student, notes=notes, stages=(done,))

    def _steps(self, model: nn.Module, samples: Calibration) -> int:
        """How many steps are taken at most: what was asked for, or what follows from the sizes alone."""
        if self.steps:
            return self.steps
        epochs = _EPOCHS * -(-sum(map(len, samples)) // self.batch_size)
        return min(epochs, max(_LEAST_STEPS, int(_WORK / max(self.work(model, samples), 1))))

    def work(self, model: nn.Module, samples: Calibration) -> float:
        """The FLOPs of a step."""
        batch = next(iter(samples))
        with watch(model, {}), torch.no_grad(), flop_counter() as counter:
            call(model, batch)
        return _TIMES_FORWARD * counter.get_total_flops() * self.batch_size / len(batch)


def distils(item: Recovery) -> bool:
    """Whether a recovery is this one, or ends with it."""
    return isinstance(item, Distil) or isinstance(getattr(item, "distil", None), Distil)


def with_steps(item: Recovery, steps: int) -> Recovery:
    """A recovery that distils in at most so many steps; others as they are."""
    if not distils(item):
        return item
    if isinstance(item, Distil):
        return replace(item, steps=steps)
    return replace(item, distil=replace(item.distil, steps=steps))  # type: ignore[attr-defined,call-arg,type-var]
