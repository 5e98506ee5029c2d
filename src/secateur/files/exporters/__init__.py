"""A network in the file of another tool, checked: one format a file, see ``base.py`` for the contract."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from secateur.core import paths, registry
from secateur.core.errors import MeasurementError, SecateurError, UnsupportedError
from secateur.files.exporters._program import Subject, subject
from secateur.files.exporters._verify import Checked, verify
from secateur.files.exporters.base import Exporter, Format, Int8, Run
from secateur.graph.capture import reaches, widest

__all__ = ["ExportWarning", "Exported", "export", "export_checked", "format_of", "write_unchecked"]

class ExportWarning(UserWarning):
    """A file holds less than the network does, such as one batch size alone."""


@dataclass(frozen=True, eq=False)
class Exported:
    """A file that was written and checked.

    Attributes:
        path: the file.
        files: all that was written, with their sizes in bytes.
        format: its name.
        runtime: what it was checked with.
        inputs: names and sizes of what it takes, open ones by name; empty where the file holds no code.
        checked: how near its outputs are to the network's; None where tensors alone were compared.
        seconds: what tracing and writing, and checking, took.
        notes: what a user should know.
        run: the file as it was opened for the check: takes the tensors of the inputs, gives those of the outputs.
        suits: of an int8 file how it rounds, what of it computes in float32, and which processors it is for.
    """

    path: Path
    files: dict[str, int]
    format: str
    runtime: str
    inputs: str
    checked: Checked | None
    seconds: dict[str, float]
    notes: tuple[str, ...]
    run: Run
    suits: str = ""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(self.files.values())


def export(model: nn.Module, path: str | Path, example: Any = None, to: str = "onnx", int8: Int8 = False) -> Path:
    """Export a network to the format of another tool, run the file with that tool, and compare the outputs.

    The file appears when it gives what the network gives in float64, to rounding: for the example and for random
    inputs of 1, 2 and 5 rows, each again of shorter length where lengths are open. Nothing is left where it does not,
    and what stood in its place stays. The batch stays open, and so do lengths of sequences, where the network allows
    it. A network cut of neurons has its smaller shapes in the file; zeros are written as zeros.

    Args:
        model: the network; never changed. A compiled one is refused.
        path: the file; its folder must be there. What stands in it is replaced.
        example: one input, a tuple of inputs, or a dict of keyword inputs; not needed for ``safetensors``.
        to: a format that ``secateur list`` names, or ``pkg.module:Class``.
        int8: for ``onnx``, quantise: weights with a sign and a scale for each channel; matrix products and LSTMs with
            ranges of each call, networks of convolutions with those of the example, which then has to hold 16 real
            samples or more. The file's outputs may differ by 15% of their length. ``"narrow"`` gives the weights seven
            bits, for x86 processors without VNNI, whose sums of eight bits overflow; on such a machine that is the
            default.

    Returns:
        The path.

    Warns:
        ExportWarning: the batch is fixed, with the reason; or something could not be checked.

    Raises:
        SecateurError: the format cannot hold the network, or the file cannot be written.
        MeasurementError: the file gave other outputs.
        MissingExtraError: a package that writes or checks it is not installed.

    >>> import tempfile, torch
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(net, f"{folder}/net.pt2", torch.rand(2, 4), to="pt2").name
    'net.pt2'
    """
    done = export_checked(model, path, example, to, int8)
    for note in done.notes:
        warnings.warn(note, ExportWarning, stacklevel=2)
    return done.path


def export_checked(model: nn.Module, path: str | Path, example: Any = None, to: str = "onnx",
             int8: Int8 = False) -> Exported:
    """As :func:`export`, without warnings: for callers that show the notes themselves."""
    chosen = format_of(to, int8)
    if not isinstance(chosen, Exporter):
        raise SecateurError(f"export: {to} is for the folder of a study, not for a network; allowed here: "
                            + ", ".join(_network_formats()))
    place = _place(path, chosen, to)
    if example is None and chosen.traced:
        raise SecateurError(f"export to {to} needs an example: one input, a tuple of inputs, or a dict of keyword "
                            "inputs; got None")
    whole = subject(model, example)
    if int8 and whole.quantised:
        raise SecateurError("export: int8 for a network whose layers are in eight bits; leave out int8")
    done, closed = widest(lambda reach: _write_checked(replace(whole, reach=reach), chosen, place, to, int8),
                          reaches(whole.inputs) if chosen.traced else [""], (UnsupportedError, MeasurementError))
    return replace(done, notes=(*_fixed_sizes(whole, closed), *done.notes))


def write_unchecked(model: nn.Module, path: Path, example: Any, to: str) -> Path:
    """Write a network with as many open sizes as its format can hold; the caller compares the outputs itself."""
    chosen = format_of(to)
    assert isinstance(chosen, Exporter)
    whole = subject(model, example)
    widest(lambda reach: chosen.write(replace(whole, reach=reach), path), reaches(whole.inputs))
    return path


def _write_checked(taken: Subject, chosen: Exporter, place: Path, to: str, int8: Int8) -> Exported:
    """Write a file to a scratch path, check it, and move it into place."""
    begin = time.perf_counter()
    with paths.write_whole(place, several=True) as path:
        chosen.write(taken, path, int8)
        middle = time.perf_counter()
        run = chosen.open(path, taken)
        found = verify(run, taken, bool(int8), f"'{place}'", chosen.traced) if taken.inputs else None
        end, suits = time.perf_counter(), chosen.suits(path)
        files = {f.name: f.stat().st_size for f in sorted(path.parent.iterdir())}
    return Exported(place, files, to, chosen.runtime(), taken.traced.describe_inputs() if chosen.traced else "", found,
                    {"written": middle - begin, "checked": end - middle}, found.notes if found else (), run, suits)


def _fixed_sizes(whole: Subject, closed: dict[str, str]) -> list[str]:
    """Which sizes could not stay open, and why."""
    reasons = {reach: text.partition("was not written: ")[2] or text for reach, text in closed.items()}
    if "batch" in reasons:
        return [f"the batch is fixed at the example's {len(whole.inputs[0])}, and so are all sizes: {reasons['batch']}"]
    return [f"lengths are fixed at the example's: {reason}" for reason in reasons.values()]


def _place(path: str | Path, chosen: Format, to: str) -> Path:
    """Where a file goes.

    Raises:
        SecateurError: it is no path, is a folder, lies in no folder, or has another suffix than the format's files.
    """
    place = paths.path_of("export", path)
    if place.suffix != chosen.suffix:
        raise SecateurError(f"export: '{place}' for {to}: its name must end in {chosen.suffix}")
    paths.check_place(place)
    return place


def format_of(name: str, int8: Int8 = False) -> Format:
    """The format of a name, its packages installed.

    Raises:
        SecateurError: an unknown name, with the nearest known one; or int8 for a format that has none.
        MissingExtraError: a package is not installed.
    """
    chosen: Format = registry.get("exporters", name)()
    if int8 not in (True, False, "narrow"):
        raise SecateurError(f"int8 {int8!r}: allowed are True, False and 'narrow'")
    if int8 and "int8" not in chosen.options:
        raise SecateurError(f"int8 with {name}: allowed is int8 with onnx")
    chosen.check_installed()
    return chosen


def _network_formats() -> list[str]:
    """The names of the formats of networks."""
    return [n for n in registry.files("exporters") if issubclass(registry.get("exporters", n), Exporter)]
