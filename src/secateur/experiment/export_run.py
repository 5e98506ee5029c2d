"""What ``secateur export`` does: a run or a file in, a checked file of another tool out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.paths import check_out, write_whole
from secateur.core.settings import NETWORK, ROW, settings_of
from secateur.experiment.export_config import ExportConfig
from secateur.experiment.rebuild import remake
from secateur.files.exporters import Exported, export_checked, format_of
from secateur.files.exporters.base import Exporter, Format, RunExporter
from secateur.measure.size import nonzeros
from secateur.models import example_inputs, resolve

_MANY = 0.2
"""Above this fraction of zeros a note says that the format stores them like any number."""
_CALL = 500
"""Test samples that a file without a fixed batch is run on at a time."""


@dataclass(frozen=True, eq=False)
class Done:
    """What was done: the file, what it was made of, and of a run the accuracy of file and row; notes for the user."""

    path: Path
    what: str
    written: Exported | None
    accuracy: tuple[float, float] | None
    notes: tuple[str, ...]


def export_source(config: ExportConfig) -> Done:
    """Export a run or a network of one, or the network of a file.

    Raises:
        SecateurError: anything of the source, the flags or the file that the caller can mend.
    """
    form = format_of(config.to, config.int8_form)
    is_run = config.path.is_dir() and not (config.path / "config.json").is_file()
    _check_flags(config, is_run)
    if isinstance(form, RunExporter):
        return _export_run(config, form, is_run)
    return _export_network_of_run(config, form) if is_run else _export_network(config, form)


def _check_flags(config: ExportConfig, is_run: bool) -> None:
    """Refuse flags that have no effect on this source."""
    group, kind, other = (NETWORK, "run", "a file") if is_run else (ROW, "file", "a run")
    if wrong := [f"--{one.name}" for one in settings_of(type(config)) if one.group == group
                 and one.name not in ("model", "trust") and getattr(config, one.name) != one.default]:
        raise SecateurError(f"'{config.path}' is a {kind}: {', '.join(wrong)} can be used with {other} only")


def _export_run(config: ExportConfig, form: RunExporter, is_run: bool) -> Done:
    """The report of a run."""
    if not is_run:
        raise SecateurError(f"'{config.path}' is a file; {config.to} needs the folder of a study")
    place = _place_of(config, form, f"{config.path.resolve().name}-report")
    with write_whole(place, several=True) as scratch:
        form.write(config.path, scratch)
    return Done(place, f"the report of {config.path}", None, None, ())


def _export_network_of_run(config: ExportConfig, form: Format) -> Done:
    """One network of a run, its file run on the run's test part."""
    remade = remake(config.path, config.cut, config.model, config.trust)
    place = _place_of(config, form, remade.name)
    export = export_checked(remade.network, place, remade.samples if config.int8 else remade.example, config.to,
                            config.int8_form)
    accuracy = _accuracy(export.run, remade.test, _rows_of(export))
    notes = (*remade.notes, *_notes_on(export, remade.network))
    return Done(place, remade.description, export, (accuracy, remade.row["accuracy"]), notes)


def _export_network(config: ExportConfig, form: Format) -> Done:
    """The network of a file, or any other that secateur prune takes."""
    text = str(config.path)
    path = resolve.file_named(text)
    if config.model and not path:
        raise SecateurError(f"'{text}' with --factory {config.model}: --factory is allowed with a file of secateur "
                            "only")
    place = _place_of(config, form, _default_stem(config.path, form.suffix))
    source = resolve.cut_file(path, config.model, config) if path else resolve.find(text, config)
    network = source.make().eval()
    needs = isinstance(form, Exporter) and form.traced
    inputs = example_inputs.example_for(network, source, config, text) if needs else None
    export = export_checked(network, place, inputs, config.to, config.int8_form)
    return Done(place, f"the network of {text}", export, None, (*source.notes, *_notes_on(export, network)))


def _default_stem(source: Path, suffix: str) -> str:
    """What a file is called by default.

    >>> _default_stem(Path("pkg.nets:make"), ".onnx"), _default_stem(Path("net.pt2"), ".pt2")
    ('pkg.nets-make', 'net-dense')
    """
    stem = source.stem if ":" not in source.name else source.name.replace(":", "-")
    return f"{stem}-dense" if suffix == source.suffix else stem


def _place_of(config: ExportConfig, form: Format, stem: str) -> Path:
    """Where the file goes; refused before any work is done where it cannot."""
    place = Path(config.out).expanduser() if config.out else Path(f"{stem}{form.suffix}")
    if place.suffix != form.suffix:
        raise SecateurError(f"out '{place}': a file of {config.to} ends in {form.suffix}")
    if place.exists() and config.path.exists() and place.samefile(config.path):
        raise SecateurError(f"out '{place}' is the source itself: name another file")
    check_out(place, config.force)
    return place


def _rows_of(export: Exported) -> int:
    """How many rows a file takes at once."""
    sizes = export.inputs.partition("[")[2].partition(",")[0].strip(" ]")
    return int(sizes) if sizes.isdigit() else _CALL


def _accuracy(run: Callable[[Sequence[Tensor]], list[Tensor]], test: tuple[Tensor, Tensor], rows: int) -> float:
    """The fraction of test samples that a file answers rightly; what does not fill a fixed batch is left out."""
    parts = [(x, y) for x, y in zip(*(t.split(rows) for t in test), strict=True) if rows == _CALL or len(x) == rows]
    right = sum(int((run([x])[0].argmax(1) == y).sum()) for x, y in parts)
    return right / sum(len(y) for _, y in parts)


def _notes_on(export: Exported, network: nn.Module) -> tuple[str, ...]:
    """What a user should know of a file and its network."""
    counts, names = nonzeros(network), [name for name, _ in network.named_parameters()]
    total = sum(p.numel() for p in network.parameters())
    share = 1 - sum(counts[n] for n in names) / total if total else 0.0
    zeros = [f"{share:.0%} of its parameters are zeros, which {export.format} stores like any number: for a smaller "
             "file, use secateur.save, or remove neurons instead of weights"] * (share > _MANY)
    return (*export.notes, *zeros)
