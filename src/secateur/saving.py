"""A pruned network in a file and back, bit for bit: safetensors, never pickle."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from secateur import graph
from secateur.apply import applied
from secateur.errors import SecateurError, first_line
from secateur.graph.cut.exported import ExportedNetwork
from secateur.measure import tensors
from secateur.record import Step, again, described, remember, steps
from secateur.runtime.base import Compiled
from secateur.version import __version__

FORMAT = "secateur network 1"


def save(model: nn.Module, path: str | Path) -> Path:
    """Write a network's tensors, and what :func:`load` needs to make it again, to a safetensors file.

    What weights were cut of is a network of its old shapes: its tensors are all that is needed. One whose neurons
    went (:func:`secateur.apply`, :func:`secateur.prune`) remembers what stayed of each group, through copies,
    training and further cuts; the file holds that with the shapes and types of its example inputs, never their
    values. The file appears whole or not at all.

    Args:
        model: the network; a compiled one is refused, save what it was compiled from.
        path: the file; its folder must be there. What stands in it is replaced.

    Returns:
        The path.

    Raises:
        SecateurError: the file cannot be written, or the network cannot be made again from a file.
    """
    path = path_of("save", path)
    check_savable(model)
    held = plain(model)
    told = {"format": FORMAT, "secateur": __version__, "network": type(model).__name__,
            "steps": json.dumps([asdict(step) for step in steps(model)]), "checksum": checksum(held)}
    write(held, path, told)
    return path


def load(path: str | Path, make_model: Callable[[], nn.Module], example: Any = None) -> nn.Module:
    """Read a network that :func:`save` wrote: make the original, cut it alike, and put the tensors in.

    Args:
        path: the file.
        make_model: a function or class that makes the network as it was before the first cut, of any weights.
        example: inputs to trace it with; needed where those of the cut were no tensors.

    Returns:
        The network, every tensor bit for bit, in the type that it was saved in; its mode is that of ``make_model``.

    Raises:
        SecateurError: the file is missing, damaged or of other origin, or was saved from another network.
    """
    path = path_of("load", path)
    held, cuts = read(path)
    network = made(make_model)
    for step in cuts:
        check_same(network, step.tensors, path)
        cast(network, step.tensors)
        network = applied(network, again(network, step, example), step.proved)
    check_same(network, {n: f"{str(t.dtype)[6:]}{list(t.shape)}" for n, t in held.items()}, path)
    fill(network, held)
    return remember(network, cuts)


def path_of(call: str, path: Any) -> Path:
    """A path with the home folder in place of ``~``."""
    if not isinstance(path, (str, os.PathLike)):
        raise SecateurError(f"{call}: got a {type(path).__name__} as path; allowed is a string or a Path")
    return Path(path).expanduser()


def check_savable(model: nn.Module) -> None:
    """Refuse what could not be made again from a file."""
    if not isinstance(model, nn.Module):
        raise SecateurError(f"save: got a {type(model).__name__}; allowed is a torch.nn.Module")
    if isinstance(model, Compiled):
        raise SecateurError("save: got a compiled network; save the network that it was compiled from, and compile it "
                            "again when it is loaded")
    graph.check_whole(model)
    if isinstance(model, ExportedNetwork) and not steps(model):
        raise SecateurError("save: the network is a cut graph that has lost the record of its cut; save what "
                            "secateur.apply or secateur.prune returned, or a copy of that")
    if inner := next((name for name, part in model.named_modules() if name and steps(part)), None):
        raise SecateurError(f"save: module '{inner}' was cut by itself and the network around it was not; save that "
                            "module by itself, or cut the whole network")
    if other := next((k for k, v in model.state_dict().items() if not isinstance(v, Tensor)), None):
        raise SecateurError(f"save: '{other}' of the network's state is no tensor; allowed are tensors only")


def plain(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer on the CPU, contiguous, none sharing memory with another; shared ones once."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors(model):
        flat = tensor.detach().cpu().contiguous()
        storage = flat.untyped_storage()
        found[name] = flat.clone() if storage.data_ptr() in seen or storage.nbytes() != flat.nbytes else flat
        seen.add(storage.data_ptr())
    return found


def checksum(held: Mapping[str, Tensor]) -> str:
    """The CRC-32 of all values in the order of their names, in hexadecimal."""
    total = 0
    for name in sorted(held):
        total = zlib.crc32(held[name].flatten().view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def write(held: dict[str, Tensor], path: Path, told: dict[str, str] | None = None) -> None:
    """Write tensors to a file beside its place, then move it there: whole or not at all.

    Raises:
        SecateurError: there is no such folder, or it is full or read-only.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if not path.parent.is_dir():
            raise SecateurError(f"cannot write '{path}': there is no folder '{path.parent}'")
        beside.touch()
        mode = beside.stat().st_mode
        safetensors.torch.save_file(held, beside, told)
        beside.chmod(mode)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise SecateurError(f"cannot write '{path}': {reason}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Tensor], tuple[Step, ...]]:
    """The tensors of a file and the cuts that it tells of.

    Raises:
        SecateurError: the file is missing, damaged or of other origin.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            told, held = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise SecateurError(f"cannot read '{path}': {error.strerror or first_line(error)}") from error
    except safetensors.SafetensorError as error:
        raise SecateurError(f"'{path}' is no whole safetensors file: {first_line(error)}") from error
    if told.get("format") != FORMAT:
        found = f"format '{told['format']}'" if "format" in told else "no format"
        raise SecateurError(f"'{path}' was not written by secateur.save: it says {found}, needed is '{FORMAT}'; "
                            "secateur.models.load_weights reads plain weights")
    if checksum(held) != told.get("checksum"):
        raise SecateurError(f"'{path}' is damaged: its checksum is {checksum(held)}, told is {told.get('checksum')}")
    return held, tuple(Step(s["tensors"], tuple(tuple(k) for k in s["keeps"]), s["example"], s["proved"])
                       for s in json.loads(told["steps"]))


def made(make_model: Any) -> nn.Module:
    """The network that a function makes."""
    if isinstance(make_model, nn.Module) or not callable(make_model):
        raise SecateurError(f"load: got a {type(make_model).__name__} as make_model; allowed is a function or class "
                            "that makes the network as it was before the cut, such as lambda: Net(10)")
    try:
        network = make_model()
    except SecateurError:
        raise
    except Exception as error:
        raise SecateurError(f"load: make_model failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise SecateurError(f"load: make_model gave a {type(network).__name__}; allowed is a torch.nn.Module")
    return network


def check_same(network: nn.Module, told: Mapping[str, str], path: Path) -> None:
    """Refuse a network whose tensors have other names or shapes than a file tells."""
    own, saved = ({n: t[t.index("["):] for n, t in one.items()} for one in (described(network), told))
    if differ := sorted(n for n in own.keys() | saved.keys() if own.get(n) != saved.get(n)):
        first = f"'{differ[0]}' is {saved.get(differ[0], 'missing')} in the file, {own.get(differ[0], 'missing')} in it"
        raise SecateurError(f"'{path}' was saved from another network than make_model makes: {len(differ)} tensors "
                            f"differ, first {first}")


def cast(network: nn.Module, told: Mapping[str, str]) -> None:
    """Give every tensor of a network the type that it had."""
    for name, tensor in tensors(network):
        kind = getattr(torch, told[name].partition("[")[0])
        if tensor.dtype != kind:
            tensor.data = tensor.data.to(kind)


@torch.no_grad()
def fill(network: nn.Module, held: Mapping[str, Tensor]) -> None:
    """Put the tensors of a file into a network, in the file's types."""
    for name, tensor in tensors(network):
        if tensor.dtype == held[name].dtype:
            tensor.copy_(held[name])
        else:
            tensor.data = held[name].to(tensor.device)
