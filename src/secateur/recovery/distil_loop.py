"""The last step of a recovery: all that is left of a network learns, end to end, to give the original's outputs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, first_line
from secateur.core.modules import device_of
from secateur.data.batch import Batch
from secateur.data.forward import call, watch
from secateur.recovery.distil_samples import Goals, Step
from secateur.recovery.flat_weights import FlatWeights, Projection
from secateur.recovery.output_loss import OutputLoss, float_outputs
from secateur.recovery.thinning import Thinning
from secateur.training.loop import cosine, run_without_denormals

_LOOKS = 20
"""The samples held out are looked at so many times, but not more often than every ``_BETWEEN`` steps."""
_BETWEEN = 32
_PATIENCE = 5
"""Once half of the steps are taken, training ends after so many looks without a smaller loss than all since it began.
Large steps raise the loss of a network that was refitted before smaller ones lower it, so the start does not count."""
_WARM = 0.1
"""The step size rises over this part of the steps: Adam knows little of the gradients' size at first."""
_FAR = 0.05
"""Below this loss at the start the step size is smaller in proportion: steps of one size lead to a noise of one size,
which a network that is near the original already must not be moved by."""
_TRIED = 8
"""Samples of which the memory of a step is measured."""
_ROUNDED = 1e-3
"""Above this loss at the start the rounding of bf16 is far below what is to be learned."""
ROOM = 1 << 31
"""Bytes that a step may keep for its gradients; larger steps are taken in parts, whose gradients are summed."""


class DistilError(Exception):
    """Why a network cannot learn; it stays as it was."""


@dataclass(eq=False)
class Distillation:
    """One training of a network in place towards the outputs of another.

    The network runs in evaluation mode, so that nothing is dropped and batch norms keep their statistics. It ends as
    the best state that was seen on the samples held out, that at the start among them.

    Attributes:
        student: what learns: its trainable parameters, of cut ones what is not zero.
        goals, held: samples with the original's outputs, to learn from and held out.
        loss: how far outputs are from the original's.
        cut: the names of parameters whose zeros stay zero.
        steps, batch_size, lr: Adam takes at most so many steps of so many samples; its step size rises to ``lr``, less
            where the loss is small at the start, and falls to zero along a cosine.
        seconds: where above zero, no further step is taken after so many.
        seed: the order of the samples, and what the network draws, come from it.
        stream: gives more batches to learn from in each epoch, behind ``goals``.
        thinning: takes weights out while the others learn; only what is seen afterwards counts as a state.
        far: the loss by which the step size is scaled; by default that at the start.
        project: see :data:`~secateur.recovery.flat_weights.Projection`.
        taken: the steps that were taken.
        before, after: the loss on the samples held out, at the start and at the end.
        ended: why it ended before its last step, as a clause; empty otherwise.
    """

    student: nn.Module
    goals: Goals
    held: Goals
    loss: OutputLoss
    steps: int
    batch_size: int
    lr: float
    cut: Collection[str] = ()
    seconds: float = 0.0
    seed: int = 0
    stream: Callable[[], Iterator[Any]] | None = None
    project: Projection | None = None
    thinning: Thinning | None = None
    far: float = 0.0
    taken: int = field(default=0, init=False)
    before: float = field(default=math.inf, init=False)
    after: float = field(default=math.inf, init=False)
    ended: str = field(default="", init=False)
    _rounds: bool = field(default=False, init=False)

    def run(self) -> None:
        """Train.

        Raises:
            DistilError: the outputs have no gradient, or torch cannot compute it.
        """
        device, stop = device_of(self.student), Event()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _trainable(self.student):
            torch.manual_seed(self.seed)
            run_without_denormals(lambda: self._run(stop), stop)

    def _run(self, stop: Event) -> None:
        flat = FlatWeights(self.student, self.cut, self.project)
        if self.project is not None:
            flat.write()
        self.before = self.held_loss()
        self._rounds = self._can_round()
        optimizer = torch.optim.Adam([flat.values], lr=self.lr, fused=True)
        looks = _Looks(self, flat, time.monotonic())
        if self.thinning is None:
            looks.remember(self.before)
        part = self._part()
        try:
            for batch, goals in self._batches():
                if stop.is_set():
                    return
                if self.thinning is not None and (masks := self.thinning.masks(self.taken)):
                    flat.thin(masks, optimizer)
                optimizer.param_groups[0]["lr"] = self._rate()
                if not math.isfinite(self._step(batch, goals, part)):
                    self.ended = f"the loss was no longer finite after {self.taken} of {self.steps} steps"
                    looks.look()
                    break
                flat.gather()
                optimizer.step()
                flat.write()
                self.taken += 1
                if looks.end():
                    break
        except (SecateurError, DistilError) as error:
            if not self.taken:
                raise
            self.ended = f"{error}; that was after {self.taken} of {self.steps} steps"
            looks.look()
        finally:
            looks.restore()

    def _can_round(self) -> bool:
        """Whether the products of a step are made in bf16, which keeps the accuracy and takes half of the time."""
        # Earlier versions of torch cannot tell, and get single precision.
        has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
        fast = device_of(self.student).type == "cpu" and has_bf16()
        if not fast or self.before < _ROUNDED or any(p.dtype != torch.float32 for p in self.student.parameters()):
            return False
        batch, goals = next(self.goals.steps(_TRIED))
        try:
            with torch.autocast("cpu", torch.bfloat16):
                made = self._outputs(batch, goals)
            weights = [p for p in self.student.parameters() if p.requires_grad]
            torch.autograd.grad(self.loss(made, goals, batch), weights, allow_unused=True)
        except (RuntimeError, SecateurError):
            return False  # an operator has no kernel for it, or none for its gradient
        return True

    def _rate(self) -> float:
        """The step size of the next step."""
        warm = min(1.0, (self.taken + 1) / (_WARM * self.steps))
        return self.lr * min(1.0, (self.far or self.before) / _FAR) * warm * cosine(self.taken / self.steps, 0)

    def _batches(self) -> Iterator[Step]:
        """As many steps as are to be taken, the samples shuffled anew in every epoch."""
        generator = torch.Generator().manual_seed(self.seed)
        again = (self._epoch(generator) for _ in repeat(None))
        for number, step in enumerate(chain.from_iterable(again), 1):
            yield step
            if number == self.steps:
                return

    def _epoch(self, generator: torch.Generator) -> Iterator[Step]:
        """The samples once: those that are kept, then those of the stream."""
        yield from self.goals.steps(self.batch_size, generator)
        if self.stream:
            yield from self.goals.more(self.stream, self.batch_size)

    def _step(self, batch: Batch, goals: list[Tensor], part: int) -> float:
        """Add up the gradients of a step; gives its loss."""
        total, count = 0.0, len(batch)
        if count <= part:
            return self._backward(batch, goals, 1.0)
        for places in torch.arange(count).split(part):  # type: ignore[no-untyped-call]
            total += self._backward(batch.at(places), [goal[places] for goal in goals], len(places) / count)
        return total

    def _backward(self, batch: Batch, goals: list[Tensor], weight: float) -> float:
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=self._rounds):
                made = self._outputs(batch, goals)
            loss = self.loss(made, goals, batch) * weight
            if not loss.requires_grad:
                raise DistilError("its outputs have no gradient: no trainable parameter leads to them")
            loss.backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, NotImplementedError) as error:
            raise DistilError(f"torch cannot compute its gradient: {first_line(error)}") from error
        return float(loss.detach())

    def _outputs(self, batch: Batch, goals: list[Tensor]) -> list[Tensor]:
        made = float_outputs(call(self.student, batch))
        if [one.shape for one in made] != [goal.shape for goal in goals]:
            raise DistilError(f"its outputs have shapes {[tuple(one.shape) for one in made]}, the original's "
                              f"{[tuple(goal.shape) for goal in goals]}")
        return made

    def held_loss(self) -> float:
        """The mean loss over the samples held out, in evaluation mode."""
        total, count = 0.0, 0
        with watch(self.student, {}), torch.no_grad():
            for batch, goals in self.held.steps(self.held.part):
                total += float(self.loss(self._outputs(batch, goals), goals, batch)) * len(batch)
                count += len(batch)
        return total / count

    def _part(self) -> int:
        """How many samples a step may take at once, from the memory that few of them keep for their gradients."""
        batch, goals = next(self.goals.steps(_TRIED))
        kept = dict[int, int]()

        def see(tensor: Tensor) -> Tensor:
            if tensor.layout == torch.strided:  # sparse ones have no storage of their own
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in self.student.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
            self._outputs(batch, goals)
        size = sum(nbytes for place, nbytes in kept.items() if place not in weights)
        divisible = self.goals.divisible
        return max(1, ROOM * len(batch) // max(size, 1)) if divisible else self.batch_size + len(batch)


class _Looks:
    """Looks at the samples held out now and then, remembers the best state, and says when to end."""

    def __init__(self, training: Distillation, flat: FlatWeights, began: float):
        self.training, self.flat, self.began = training, flat, began
        self._every = max(_BETWEEN, training.steps // _LOOKS)
        self._least, self._stale = math.inf, 0
        self._best: Tensor | None = None

    def remember(self, loss: float) -> None:
        """This state is the best so far."""
        self.training.after, self._best = loss, self.flat.values.detach().clone()

    def restore(self) -> None:
        """Give the network its best state; that of now where none was seen."""
        if self._best is not None:
            self.flat.values.detach().copy_(self._best)
        self.flat.write()

    def look(self) -> None:
        """Remember this state where it is the best so far; one that is not thinned to the end is none."""
        run = self.training
        if run.thinning is not None and not run.thinning.is_done(run.taken - 1):
            return
        loss = run.held_loss()
        if loss < run.after:
            self.remember(loss)
        self._least, self._stale = (loss, 0) if loss < self._least else (self._least, self._stale + 1)

    def end(self) -> bool:
        """Look where it is time to; whether training is over."""
        run = self.training
        late, last = 0 < run.seconds <= time.monotonic() - self.began, run.taken == run.steps
        if not (run.taken % self._every == 0 or last or late):
            return False
        self.look()
        if last:
            return True
        if self._stale >= _PATIENCE and run.taken >= run.steps / 2:
            run.ended = f"the loss on held-out samples no longer fell after {run.taken} of {run.steps} steps"
        elif late:
            run.ended = (f"the {run.seconds:g} seconds were over after {run.taken} of {run.steps} steps, so that "
                         "another run may end elsewhere")
        return bool(run.ended)


@contextmanager
def _trainable(model: nn.Module) -> Iterator[None]:
    """Evaluation mode in which gradients can be computed, and parameters without gradients before and after.

    A recurrent layer on a GPU has gradients in training mode alone, which is the same where it drops nothing.
    """
    with watch(model, {}):
        for module in model.modules():
            if isinstance(module, nn.RNNBase) and not module.dropout:
                module.training = True
        gradients = [(p, p.grad) for p in model.parameters()]
        try:
            for p, _ in gradients:
                p.grad = None
            yield
        finally:
            for p, gradient in gradients:
                p.grad = gradient
