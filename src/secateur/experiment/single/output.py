"""A cut network in a file, which is read back and compared before it gets its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur import files
from secateur.core.errors import MeasurementError, SecateurError, UnsupportedError, failing
from secateur.core.modules import device_of
from secateur.core.paths import write_whole
from secateur.core.tensors import same_bits
from secateur.core.text import bits_name
from secateur.experiment.single.task import SingleCut
from secateur.files.exporters import write_unchecked
from secateur.measure.compare import difference
from secateur.measure.size import tensors
from secateur.models import resolve
from secateur.models.loaders.base import Kind
from secateur.models.loaders.hugging_face import network as from_folder

_ROUNDING = 1e-5
"""The largest difference that float32 sums in another order make, with room; a wrong weight makes far more."""
_COMPARED = 256
"""How many samples the network that was read back is run on."""
OWN, PROGRAM = ".safetensors", ".pt2"
FOREIGN = {".keras", ".onnx", ".pt", ".pth", ".bin", ".h5", ".pkl", ".npz", ".xml", ".gguf", ".tflite"}


def check_form(path: Path, kind: Kind, same_shapes: bool, bits: int = 32) -> None:
    """Refuse a file that could not hold the cut network, before any work is done."""
    own = _is_own(path, kind)
    if bits != 32 and (own or path.suffix in FOREIGN):
        raise SecateurError(f"out '{path}' with bits {bits}: a network in {bits_name(bits)} is written as {OWN} or "
                            f"{PROGRAM}; for other formats, export that file")
    if own and not same_shapes:
        raise SecateurError(f"out '{path}': {kind.form} cannot hold a network with fewer neurons; allowed are {OWN} "
                            f"and {PROGRAM}")
    if path.suffix in FOREIGN and not own:
        further = f", {kind.suffix}" if kind.suffix not in ("", PROGRAM) else ", a folder" if kind.folder else ""
        raise SecateurError(f"out '{path}': a network from {kind.form} is written as {OWN}, {PROGRAM}{further}")


def is_secateurs(path: Path, kind: Kind) -> bool:
    """Whether what is written at a path is a file of :func:`secateur.save`."""
    return path.suffix != PROGRAM and not _is_own(path, kind)


def _is_own(path: Path, kind: Kind) -> bool:
    """Whether a path is one of the kind's own files or folders."""
    return path.suffix != PROGRAM and (kind.folder or bool(kind.suffix)) and path.suffix == kind.suffix


def write_checked(cut: nn.Module, path: Path, single: SingleCut, facts: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Write a cut network to a scratch path, read it back, compare, and only then move it into place.

    Args:
        cut: the network.
        path: where it goes.
        single: where it comes from.
        facts: what a file of :func:`secateur.save` says of how it was made.

    Returns:
        How it is loaded, as Python, and notes on the file.

    Raises:
        MeasurementError: a tensor or an output of what was read back differs.
        SecateurError: the disk is full, or the folder may not be written to.
    """
    with write_whole(path) as scratch:
        load_again, again, notes = _write(cut, scratch, path, single, facts)
        back = load_again().to(device_of(cut)).eval()
        _check_same(cut, back, path, single, exact=path.suffix not in (PROGRAM, ".keras"))
    return again, notes


def _write(cut: nn.Module, scratch: Path, path: Path, single: SingleCut,
           facts: dict[str, Any]) -> tuple[Callable[[], nn.Module], str, tuple[str, ...]]:
    """Write a cut network to a scratch path in the form that its path asks for.

    Returns:
        What reads it back, how it is loaded from its path as Python, and notes.
    """
    kind, text = single.kind, single.config.model
    if path.suffix == PROGRAM:
        write_unchecked(cut, scratch, single.task.example_of(single.source.batch or 2), "pt2")
        again = f"torch.export.load('{path}').module()"
        return lambda: resolve.network(str(scratch), trusted=True), again, ()
    if is_secateurs(path, kind):
        notes, original = _save(cut, scratch, single, facts), single.source.original or single.source.make
        again = f"secateur.load('{path}', {single.source.again})"
        again += "" if notes else f", or secateur.load('{path}'), which runs the graph in the file"
        return lambda: files.load(scratch, original), again, notes
    with failing(f"cannot write '{single.config.out}'"):
        kind.write(cut, text, scratch)
    if kind.folder:
        return lambda: from_folder(scratch), f"transformers.{type(cut).__name__}.from_pretrained('{path}')", ()
    return lambda: resolve.network(str(scratch)), f"keras.saving.load_model('{path}')", ()


def _save(cut: nn.Module, path: Path, single: SingleCut, facts: dict[str, Any]) -> tuple[str, ...]:
    """Write a file of :func:`secateur.save`, with the network's graph where possible; return why it has none."""
    try:
        example = single.task.example_of(single.source.batch or 2, device_of(cut))
        files.save(cut, path, example, settings=facts)
    except UnsupportedError as error:
        files.save(cut, path, settings=facts)
        return (f"the file holds no graph, so loading it needs make_model: {error}",)
    return ()


def bytes_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def _check_same(cut: nn.Module, back: nn.Module, path: Path, single: SingleCut, exact: bool) -> None:
    """Refuse a network that was read back where a tensor or an output differs.

    ``exact`` is left out for forms that sum in another order; outputs may then differ by rounding.

    Raises:
        MeasurementError: the message says what differs.
    """
    if exact and (differ := [n for (n, a), (_, b) in zip(tensors(cut), tensors(back), strict=True)
                             if not same_bits(a, b)]):
        raise MeasurementError(f"'{path}' was not written: after reading back, {len(differ)} tensors differ, such as "
                               f"{differ[0]}")
    size = single.source.batch or _COMPARED
    pairs = list(zip(single.task.outputs_of(cut, size), single.task.outputs_of(back, size), strict=True))
    if exact and not all(torch.equal(a, b) for a, b in pairs):
        raise MeasurementError(f"'{path}' was not written: after reading back, its outputs differ")
    if not all(difference(b, a) <= _ROUNDING for a, b in pairs if a.is_floating_point()):
        raise MeasurementError(f"'{path}' was not written: after reading back, its outputs differ by more than "
                               f"{_ROUNDING:g}")
