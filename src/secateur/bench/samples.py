"""The samples that ranges of int8 are taken from, and those that outputs in less precision are compared on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from secateur.bench.network import Subject
from secateur.core.errors import SecateurError
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration, join
from secateur.data.datasets.base import Dataset
from secateur.data.input_spec import InputSpec
from secateur.data.samples import HeldOutSamples, read
from secateur.files.native.program.network import FileNetwork
from secateur.models.example_inputs import tensors_and_names

_SHOWN, _HELD, _CALL = 256, 512, 64
"""How many samples ranges are taken from and outputs are compared on; how many a call has, and are drawn at random."""
NO_DATA = ("less precision than float32 was set up and compared on {}; --data takes your own samples, on which outputs "
           "may differ more or less")


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a network's inputs.

    Attributes:
        timed: the tensors of the inputs, samples along the first axis; batches of them are timed.
        shown: the same; ranges of int8 are taken from these.
        held: outputs are compared on these.
        names: of the inputs, where the network takes them by name.
        real: whether they are a user's own rather than an example.
        note: what a reader has to know of them.
    """

    timed: tuple[Tensor, ...]
    shown: tuple[Tensor, ...]
    held: Calibration
    names: tuple[str, ...]
    real: bool
    note: str = ""


def read_data(subject: Subject) -> tuple[Subject, Dataset | HeldOutSamples | None]:
    """The data that a subject names, and the subject, with the shape and the classes of data with labels.

    Raises:
        SecateurError: they cannot be read.
    """
    if not subject.data:
        return subject, None
    found = read(subject.data, lambda: subject.source.encode, _only_batch(subject) if _is_program(subject) else 0)
    if isinstance(found, Dataset):
        subject = replace(subject, shape=subject.shape or found.shape, classes=subject.classes or found.classes)
    return subject, found


def samples_of(subject: Subject, network: nn.Module, data: Dataset | HeldOutSamples | None) -> Samples:
    """The samples of the data; else the example, which is a user's own or drawn at random.

    Raises:
        SecateurError: the network takes other inputs, or none are known.
    """
    size = _only_batch(subject, network) or _CALL
    if isinstance(data, Dataset):
        held = [Batch((x,), y) for x, y in zip(data.test_x[:_HELD].split(size), data.test_y[:_HELD].split(size),
                                               strict=True) if len(x) == size or size == _CALL]
        x = data.train_x[:_SHOWN]
        return Samples((x,), (x,), Calibration(held), (), True)
    if data is not None:
        shown = _joined(data.shown.first(_SHOWN), subject.name)
        return Samples(shown, shown, data.held.first(_HELD), data.shown.names, True, data.note)
    inputs, names = subject.sample(network)
    if subject.example:
        return Samples(inputs, inputs, _in_calls(inputs, names, size), names, True)
    if all(x.is_floating_point() for x in inputs):
        return Samples(inputs, _draw(inputs, size, 0), _in_calls(_draw(inputs, size, 1), names, size), names, False,
                       NO_DATA.format("random inputs"))
    return Samples(inputs, inputs, _in_calls(inputs, names, size), names, False, NO_DATA.format("the example"))


def _is_program(subject: Subject) -> bool:
    """Whether a subject is a program of ``torch.export``, whose batch is known before its inputs are."""
    return subject.model.endswith(".pt2")


def _only_batch(subject: Subject, network: nn.Module | None = None) -> int:
    """The only size of a batch that a network takes; 0 where it takes any."""
    return subject.source.batch or (network.batch if isinstance(network, FileNetwork) else 0) or 0


def _joined(samples: Calibration, what: str) -> tuple[Tensor, ...]:
    """Samples as one tensor for each input; those of the first batch, where batches have other shapes.

    Raises:
        SecateurError: an input is no tensor with samples along the first axis.
    """
    try:
        return join(samples)
    except SecateurError:
        return tensors_and_names(next(iter(samples)).inputs, what)[0]


def _draw(like: tuple[Tensor, ...], count: int, seed: int) -> tuple[Tensor, ...]:
    """Random samples in the range of some inputs."""
    spec = InputSpec.of(like, ranges=True)
    drawn: tuple[Tensor, ...] = spec.random(seed, shapes=[(count, *x.shape[1:]) for x in like])
    return drawn


def _in_calls(inputs: Sequence[Tensor], names: tuple[str, ...], size: int) -> Calibration:
    """Samples in batches of one call each."""
    return Calibration([Batch(part, None, names) for part in zip(*(x.split(size) for x in inputs), strict=True)])
