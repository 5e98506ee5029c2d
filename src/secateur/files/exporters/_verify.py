"""A written file against the network: the same outputs, on the example and on random inputs of other batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from secateur.core.errors import MeasurementError, UnsupportedError, first_line
from secateur.core.pytree import repeat
from secateur.core.tensors import dtype_name, same_bits
from secateur.data.input_spec import InputSpec
from secateur.files.exporters._program import Subject, Traced
from secateur.files.exporters.base import Run
from secateur.graph.capture import quiet
from secateur.measure.compare import same_classes

BATCHES = (1, 2, 5)
ROUNDED, HALF, OWN = 128, 4, 10
SPAN, BEYOND, APART = 255, 0.001, 0.01
"""Of int8 layers: the codes that an output's range is divided into, the part of the outputs that may be more than one
of these off, and what the outputs' difference may be of their length."""
COARSE = 0.15
"""The greatest relative error of an int8 file: the length of the outputs' difference over the outputs' length."""


@dataclass(frozen=True)
class Checked:
    """How near a file's outputs are to the network's in float64; of int8 layers to its own.

    Attributes:
        batches: the sizes of the first axis that were run, the example's first.
        error: the greatest difference, relative to the greatest value of its output; of int8 layers the greatest but
            for a thousandth of the values.
        allowed: what the greatest would have been allowed to be.
        distance: the length of the difference over the length of the outputs, the worst of all inputs.
        same: of the rows of outputs, the fraction whose greatest value stands in the same place; None without rows.
        rows: how many rows those are.
        notes: what could not be checked.
        against: what the outputs were compared with, in words.
    """

    batches: tuple[int, ...]
    error: float
    allowed: float
    distance: float
    same: float | None
    rows: int
    notes: tuple[str, ...]
    against: str = "float64"


def verify(run: Run, subject: Subject, int8: bool, what: str, traced: bool = True) -> Checked:
    """Run a file and its network on the same inputs.

    For a number, at most 128 units of its type's rounding (4 of a type of 16 bits) of the output's greatest value are
    allowed, or ten times what the network itself is off the truth of float64, if that is more; whole numbers and
    booleans have to be equal.
    An int8 file may differ by :data:`COARSE` of the outputs' length.

    A network of int8 layers is compared with itself, since float64 is no truth of it. A runtime that adds up in another
    order may round a value between two codes to the other one; so 99.9 % of the values have to be within a 255th of
    their output's range, and the length of all differences below 1 % of the outputs', or each within ten times of what
    float64 between the layers makes of the network, if that is more.

    Raises:
        MeasurementError: the file's outputs differ.
    """
    sets = _input_sets(subject, int8) if traced else [subject.inputs]
    found = [_compare(run, subject, inputs, int8, what) for inputs in sets]
    same, rows = sum(f.same * f.rows for f in found if f.same is not None), sum(f.rows for f in found)
    return Checked(tuple(f.batches[0] for f in found if f.batches), max(f.error for f in found),
                   max(f.allowed for f in found), max(f.distance for f in found), same / rows if rows else None, rows,
                   tuple(dict.fromkeys(n for f in found for n in f.notes)),
                   "the int8 network" if subject.quantised else "float64")


def _input_sets(subject: Subject, own: bool) -> Iterator[list[Tensor]]:
    """The example, and random inputs of other batches and lengths where these are open.

    ``own`` takes rows of the example instead of random ones of its length: ranges of int8 hold for such inputs.

    Raises:
        UnsupportedError: the trace has the batch open, but the network takes none but the example's.
    """
    yield subject.inputs
    trace, several, taken = subject.traced, len(set(subject.traced.symbols.values())) > 1, 0
    for batch in BATCHES if trace.open else (None,):
        for shorter in (False, True) if several and batch != 1 else (False,):
            inputs = _repeat_rows(trace, batch or 0) if own and not shorter else _random_inputs(trace, batch, shorter)
            if takes(subject, inputs):
                taken += batch is not None and batch != len(subject.inputs[0])
                yield inputs
            elif batch is not None and takes(subject, rows := _repeat_rows(trace, batch)):
                taken += batch != len(subject.inputs[0])
                yield rows
    if trace.open and not taken:
        raise UnsupportedError(f"the network accepts only batches of {len(subject.inputs[0])}")


def takes(subject: Subject, inputs: Sequence[Tensor]) -> bool:
    """Whether a network runs on inputs and gives numbers."""
    try:
        with quiet():
            return all(bool(t.isfinite().all()) for t in subject.outputs(inputs))
    except Exception:
        return False


def _random_inputs(trace: Traced, batch: int | None, shorter: bool) -> list[Tensor]:
    """Random inputs in the range of the example's: the same each time."""
    def size(symbol: int | str, own: int) -> int:
        if isinstance(symbol, int):
            return symbol
        return batch if trace.symbols[symbol] == "batch" and batch else own // 2 if shorter and own > 3 else own

    shapes = [[size(symbol, own) for symbol, own in zip(sizes, like.shape, strict=True)]
              for like, sizes in zip(trace.example, trace.sizes, strict=True)]
    inputs: list[Tensor] = InputSpec.of(trace.example, ranges=True).random(batch or 0, shapes=shapes)
    return inputs


def _repeat_rows(trace: Traced, batch: int) -> list[Tensor]:
    """The rows of the example, from the start again where there are fewer."""
    return [repeat(x, batch) if sizes and trace.symbols.get(str(sizes[0])) == "batch" else x
            for x, sizes in zip(trace.example, trace.sizes, strict=True)]


def _compare(run: Run, subject: Subject, inputs: list[Tensor], int8: bool, what: str) -> Checked:
    """One call of both.

    Raises:
        MeasurementError: the outputs differ, or the file does not run.
    """
    where = f"{what} was not written: for inputs {_describe(inputs)}"
    own = subject.outputs(inputs)
    truth, notes = _truth_of(subject, inputs, own)
    try:
        got = run([x.contiguous() for x in inputs])
    except Exception as error:
        raise MeasurementError(f"{where} its runtime returns no outputs: {first_line(error):.200}"
                               ) from error
    if _describe(got) != _describe(own):
        raise MeasurementError(f"{where} it returns {_describe(got) or 'nothing'}, the network {_describe(own)}")
    pairs = [difference_of_codes(g, o, t) if subject.quantised else difference(g, t, o, int8)
             for g, t, o in zip(got, truth, own, strict=True)]
    for position, pair in enumerate(pairs):
        if not (pair.distance <= COARSE if int8 else pair.error <= pair.allowed):
            off, most = (pair.distance, COARSE) if int8 else (pair.error, pair.allowed)
            raise MeasurementError(f"{where} output {position} has a relative error of {off:.2g}, allowed {most:.2g}")
    rows = sum(p.rows for p in pairs)
    same = sum(p.same * p.rows for p in pairs if p.same is not None) / rows if rows else None
    worst = max(pairs, key=lambda p: p.error)
    return Checked(tuple(len(x) for x in inputs[:1] if x.ndim), worst.error, worst.allowed,
                   max(p.distance for p in pairs), same, rows, notes)


def _truth_of(subject: Subject, inputs: list[Tensor], own: list[Tensor]) -> tuple[list[Tensor], tuple[str, ...]]:
    """The outputs in float64; those of the network's own type, with a note, where it does not run so."""
    try:
        truth = subject.truth(inputs)
        if [t.shape for t in truth] == [t.shape for t in own]:
            return truth, ()
    except (UnsupportedError, RuntimeError, TypeError, ValueError, NotImplementedError):
        pass
    return [t.double() if t.is_floating_point() else t for t in own], () if subject.quantised else (
        "the network does not run in float64, so the file was compared with outputs in the network's own type",)


def _describe(outputs: Sequence[Tensor]) -> str:
    """Types and shapes in words."""
    return ", ".join(f"{dtype_name(t.dtype)} {list(t.shape)}" for t in outputs)


def difference(got: Tensor, truth: Tensor, own: Tensor, int8: bool) -> Checked:
    """How far one output is from the truth; rows are counted where there are several values in each."""
    if not (own.is_floating_point() or own.is_complex()):
        wrong = float(((got != truth) & (got != own)).double().mean()) if got.numel() else 0.0
        return Checked((), wrong, 0.0, 0.0 if int8 else wrong, None, 0, ())
    if not torch.equal(got.isfinite(), own.isfinite()):
        return Checked((), float("inf"), 0.0, float("inf"), None, 0, ())
    here = own.isfinite()
    exact, near, mine = (torch.where(here, t, 0).to(torch.promote_types(t.dtype, torch.float64))
                         for t in (truth, got, own))
    scale = float(exact.abs().max()) or 1.0 if exact.numel() else 1.0
    off, own_off = (float((t - exact).abs().max()) / scale if exact.numel() else 0.0 for t in (near, mine))
    rows = exact.numel() // exact.shape[-1] if exact.ndim > 1 and exact.shape[-1] > 1 and not exact.is_complex() else 0
    same = same_classes(near, exact) if rows else None
    length = float(exact.norm()) or 1.0
    return Checked((), off, max(rounding(own.dtype), OWN * own_off),
                   float((near - exact).norm()) / length, same, rows, ())


def difference_of_codes(got: Tensor, own: Tensor, wide: Tensor) -> Checked:
    """How far one output of a network of int8 layers is from the network's; ``error`` leaves out a thousandth of the
    values, and is the length of the difference where that is what is too much.

    Args:
        got: of the file.
        own: of the network.
        wide: of the network with float64 between its layers, where other values are rounded to the other code.

    >>> own = torch.linspace(0, 255, 1000)
    >>> found = difference_of_codes(own + 0.5, own, own)
    >>> round(found.error * 255, 3), round(found.allowed * 255, 3)
    (0.5, 1.0)
    """
    if not own.is_floating_point() or not own.numel():
        off = float((got != own).double().mean()) if got.numel() else 0.0
        return Checked((), off, BEYOND, off, None, 0, ())
    whole, natural = difference(got, own, own, False), difference(wide, own, own, False)
    if not whole.distance <= (most := max(APART, OWN * natural.distance)):
        return replace(whole, error=whole.distance, allowed=most)
    low, high = own.double().nan_to_num(0, 0, 0).aminmax()
    greatest = max(-float(low), float(high)) or 1.0
    off, own_off = (_greatest_but_few(one, own) / greatest for one in (got, wide))
    return replace(whole, error=off, allowed=max(float(high - low) / SPAN / greatest, OWN * own_off))


def _greatest_but_few(one: Tensor, own: Tensor) -> float:
    """The greatest difference when a thousandth of the values is left out, the greatest ones first."""
    off = (one.double() - own.double()).abs()[own.isfinite()]
    return float(off.kthvalue(max(1, len(off) - ceil(BEYOND * len(off)))).values) if len(off) else 0.0


def rounding(kind: torch.dtype) -> float:
    """What roundings of a type are allowed to add up to.

    >>> rounding(torch.float32) == 128 * 2 ** -23, rounding(torch.float16) == 4 * 2 ** -10
    (True, True)
    """
    found = torch.finfo(kind)
    return (HALF if found.bits < 32 else ROUNDED) * found.eps


def check_tensors(held: dict[str, Tensor], told: dict[str, Tensor], what: str) -> None:
    """Refuse tensors that are not the network's, bit for bit.

    Raises:
        MeasurementError: one differs.
    """
    differ = [n for n in held.keys() | told.keys() if n not in held or n not in told or not same_bits(held[n], told[n])]
    if differ:
        raise MeasurementError(f"{what} was not written: after reading back, {len(differ)} tensors differ, such as "
                               f"'{min(differ)}'")
