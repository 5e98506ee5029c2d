"""The samples that a network learns from towards the original's outputs, and those held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing
from secateur.core.modules import device_of
from secateur.data.batch import Batch, as_batch
from secateur.data.calibration import Calibration, check_values
from secateur.data.forward import call, watch
from secateur.recovery.output_loss import float_outputs
from secateur.training.batches import Augment, change_inputs

HELD_OUT = 8
"""One sample in so many is held out."""
_PART = 512
"""The original is asked about so many samples at once, but not more than the caller's batches hold."""
_LOOKED_AT = 1 << 28
"""So many bytes of the original's outputs tell which loss goes with them."""
_ROOM = 1 << 30
"""Bytes of the original's outputs that are kept; beyond, it is asked at every step."""
_SAME = 1e-3
Step = tuple[Batch, list[Tensor]]
"""A batch, and what the original gives for it."""


def split(samples: Calibration, whole_batches: bool) -> tuple[Calibration, Calibration]:
    """The samples without an eighth, and that eighth: of samples, or where these cannot be parted of batches.

    Of each eight in a row one is drawn, because samples may take turns.

    >>> fit, held = split(Calibration([torch.arange(9.0)[:, None], torch.arange(9.0, 18)[:, None]]), False)
    >>> [sum(map(len, part)) for part in (fit, held)]
    [16, 2]
    """
    count = sum(1 if whole_batches else len(batch) for batch in samples)
    drawn = torch.randint(HELD_OUT, (-(-count // HELD_OUT),), generator=torch.Generator().manual_seed(0))
    out_of_all = torch.arange(count) % HELD_OUT == drawn.repeat_interleave(HELD_OUT)[:count]
    out_of_all[count - count % HELD_OUT:] = False
    fit, held, seen = list[Batch](), list[Batch](), 0
    for batch in samples:
        if whole_batches:
            (held if bool(out_of_all[seen]) else fit).append(batch)
            seen += 1
            continue
        out = out_of_all[seen:seen + len(batch)]
        seen += len(batch)
        for part, places in ((fit, ~out), (held, out)):
            if bool(places.any()):
                part.append(batch.at(places.nonzero().squeeze(1)))
    return samples.of(fit), samples.of(held)


def is_divisible(original: nn.Module, samples: Calibration) -> bool:
    """Whether the first axis of all inputs and outputs counts samples that do not touch each other.

    It is tried on the largest batch: its second half alone gives the second half of what the whole gives. Batches of
    one sample are tried two at a time.
    """
    batch = max(samples, key=len)
    tensors = [v for v in batch.inputs if isinstance(v, Tensor)]
    if not all(v.ndim and len(v) == len(batch) for v in tensors) or not tensors:
        return False
    if len(batch) == 1:
        batch = _join([one for one in samples if _form(one) == _form(batch)][:2])
    some = torch.arange(min(len(batch), 8))
    half = some[len(some) // 2:]
    try:
        whole, part = _ask(original, batch.at(some)), _ask(original, batch.at(half))
    except SecateurError:
        return False  # it takes batches of one size
    return len(whole) == len(part) and all(
        a.ndim > 0 and len(a) == len(some) and b.shape == a[half].shape and _alike(a[half], b)
        for a, b in zip(whole, part, strict=True))


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs are equal but for rounding, where they are numbers."""
    one, other = one.nan_to_num(), other.nan_to_num()
    return bool((one - other).norm() <= _SAME * one.norm())


@torch.no_grad()
def _ask(original: nn.Module, batch: Batch) -> list[Tensor]:
    with watch(original, {}):
        return float_outputs(call(original, batch))


@dataclass(eq=False)
class _Stack:
    """Samples of one shape as one tensor for each input, or a batch that cannot be parted."""

    batch: Batch
    divisible: bool
    goals: list[Tensor] | None = None

    def parts(self, size: int, generator: torch.Generator | None) -> Iterator[Tensor | None]:
        """The places of each step, in an order drawn from a generator or in their own; None stands for all."""
        if not self.divisible:
            yield None
            return
        count = len(self.batch)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        yield from order.split(size)  # type: ignore[no-untyped-call]


@dataclass(eq=False)
class Goals:
    """Samples with the outputs that the original gives for them, which are computed once where they fit in memory.

    Attributes:
        original: the network before the cut.
        samples: what it is asked about.
        divisible: whether batches may be parted and joined, see :func:`is_divisible`.
        augment: changes inputs at every step; the original is then asked about what it gives.
        part: how many samples a network is asked about at once.
    """

    original: nn.Module
    samples: Calibration
    divisible: bool
    augment: Augment | None = None
    part: int = field(default=_PART, init=False)
    _stacks: list[_Stack] = field(default_factory=list)

    def __post_init__(self) -> None:
        device, left = device_of(self.original), _ROOM
        self.part = min(_PART, max(map(len, self.samples), default=1))
        self._stacks = [_Stack(batch.to(device), self.divisible) for batch in self._joined()]
        for stack in self._stacks if self.augment is None else ():
            left -= self._keep_goals(stack, left)

    def _keep_goals(self, stack: _Stack, room: int) -> int:
        """Ask about all samples of a stack where the outputs fit in so many bytes; how many they take."""
        found, size = list[list[Tensor]](), 0
        for places in stack.parts(self.part, None):
            found.append(_ask(self.original, stack.batch if places is None else stack.batch.at(places)))
            size += sum(one.nbytes for one in found[-1])
            if size * len(stack.batch) > room * min(self.part * len(found), len(stack.batch)):
                return 0
        stack.goals = [torch.cat(column) if len(found) > 1 else column[0] for column in zip(*found, strict=True)]
        return size

    def steps(self, size: int, generator: torch.Generator | None = None) -> Iterator[Step]:
        """All samples once, so many at a time; shuffled where there is a generator."""
        places = [(stack, part) for stack in self._stacks for part in stack.parts(size, generator)]
        order = range(len(places)) if generator is None or len(self._stacks) == 1 else (
            torch.randperm(len(places), generator=generator).tolist())
        for number in order:
            yield self._at(*places[number])

    def first_steps(self) -> list[Step]:
        """Some samples with the original's outputs: all of them, where these are not large."""
        found, size = list[Step](), 0
        for step in self.steps(self.part):
            found.append(step)
            size += sum(goal.nbytes for goal in step[1])
            if size > _LOOKED_AT:
                break
        return found

    def more(self, stream: Callable[[], Iterator[Any]], size: int) -> Iterator[Step]:
        """The batches of a stream, so many samples at a time at most.

        Raises:
            SecateurError: the stream fails, or a value is NaN or infinite.
        """
        batches: Iterator[Any] | None = None
        for number in itertools.count():
            with failing(f"data: batch {number} behind those kept cannot be read"):
                batches = batches or stream()
                given = next(batches, None)
            if given is None:
                return
            batch = as_batch(given)
            check_values(f"batch {number} behind those kept", batch)
            stack = _Stack(batch.to(device_of(self.original)), self.divisible)
            for part in stack.parts(size, None) if len(batch) else ():
                yield self._at(stack, part)

    def _at(self, stack: _Stack, places: Tensor | None) -> Step:
        batch = stack.batch if places is None else stack.batch.at(places)
        if self.augment is not None:
            # of a batch that is not parted the samples themselves would be written over
            batch = change_inputs(batch.to(device_of(self.original), copy=places is None), self.augment)
        if stack.goals is None:
            return batch, _ask(self.original, batch)
        return batch, stack.goals if places is None else [goal[places] for goal in stack.goals]

    def _joined(self) -> list[Batch]:
        """Batches of samples of one shape joined, where samples can be parted."""
        batches = [replace(batch, labels=None) for batch in self.samples]
        if not self.divisible:
            return batches
        alike = dict[Any, list[Batch]]()
        for batch in batches:
            alike.setdefault(_form(batch), []).append(batch)
        return [_join(group) for group in alike.values()]


def _form(batch: Batch) -> tuple[Any, ...]:
    """What batches have in common that can be joined."""
    return batch.names, *((v.shape[1:], v.dtype) if isinstance(v, Tensor) else repr(v) for v in batch.inputs)


def _join(batches: Sequence[Batch]) -> Batch:
    """Batches of one shape as one."""
    columns = zip(*(batch.inputs for batch in batches), strict=True)
    return replace(batches[0], inputs=tuple(torch.cat(column) if isinstance(column[0], Tensor) else column[0]
                                            for column in columns))
