"""From a network to a file, bit for bit: safetensors, never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.errors import SecateurError, first_line
from secateur.core.version import __version__
from secateur.files.native import dtypes, layout, sparse, strict
from secateur.files.native.program import FileNetwork, make_graph
from secateur.files.native.write import write_parts, write_tensors
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.measure.size import tensors
from secateur.pruning.history import steps
from secateur.runtime.base import Compiled


def save(model: nn.Module, path: str | Path, example: Any = None, values: str | None = None,
         settings: Mapping[str, Any] | None = None) -> Path:
    """Write a network's tensors, and what :func:`secateur.load` needs to make it again, to a safetensors file.

    Each tensor is written in the fewest bytes of three forms: dense, a bitmask with the values, or compressed sparse
    rows. What comes back is the same bit for bit. A network whose neurons went (:func:`secateur.apply`,
    :func:`secateur.prune`) remembers what stayed of each group, through copies, training and further cuts; the file
    holds that with the shapes and types of its example inputs, never their values. It appears whole or not at all.

    Args:
        model: the network; a compiled one is refused, save what it was compiled from.
        path: the file; its folder must be there. What stands in it is replaced.
        example: inputs, as :func:`secateur.plan` takes them: the network's graph goes into the file with them, and
            ``secateur.load(path)`` runs it without the network's code.
        values: ``"bf16"`` or ``"f16"`` stores weights of two axes or more in two bytes each; they come back rounded,
            in their own type. None keeps every bit.
        settings: what is to be told of the network, as JSON has it; :func:`secateur.files.tell` gives it back.

    Returns:
        The path.

    Raises:
        SecateurError: the file cannot be written, or the network cannot be made again from a file.

    >>> import tempfile, secateur as sc
    >>> net = sc.prune(nn.Linear(64, 64), 0.9)
    >>> path = sc.save(net, tempfile.mkdtemp() + "/net.safetensors")
    >>> torch.equal(sc.load(path, lambda: nn.Linear(64, 64)).weight, net.weight)
    True
    """
    path = path_of("save", path)
    check_savable(model)
    text, constants = graph_of(model, example)
    told, parts = dict[str, layout.Stored](), dict[str, sparse.Bytes]()
    for name, tensor in [*tensors(model), *constants.items()]:
        told[name], narrow = described(name, tensor, None if name in constants else values)
        parts.update(zip(layout.parts(name, told[name]), sparse.encoded(narrow, told[name].form), strict=True))
    parts[layout.PROGRAM] = np.frombuffer(text, np.uint8)
    write_parts(path, metadata(model, told, settings, len(text)), layout.entries(told, len(text)), parts)
    return path


def graph_of(model: nn.Module, example: Any) -> tuple[bytes, dict[str, Tensor]]:
    """The graph to keep and its constants: traced with an example, or the one that the network runs already."""
    if example is not None:
        return make_graph(model, example)
    return (model.program.text if isinstance(model, FileNetwork) else b""), {}


def save_dense(model: nn.Module, path: str | Path) -> Path:
    """Write a network's ``state_dict`` as a plain safetensors file that any tool reads: dense, in its shapes of now.

    Tensors that share memory are written under each of their names.

    Args:
        model: the network.
        path: the file; what stands in it is replaced.

    Raises:
        SecateurError: the file cannot be written.
    """
    path = path_of("save_dense", path)
    check_savable(model)
    write_tensors(model.state_dict(), path)
    return path


def file_bytes(model: nn.Module, values: str | None = None, settings: Mapping[str, Any] | None = None) -> int:
    """The bytes of the file that :func:`secateur.save` writes of a network, counted without writing it.

    >>> file_bytes(nn.Linear(64, 64)) > 64 * 64 * 4
    True
    """
    check_savable(model)
    told = {name: described(name, tensor, values)[0] for name, tensor in tensors(model)}
    kept = len(graph_of(model, None)[0])
    text = layout.header({**metadata(model, told, settings, kept), "data": "0" * 8}, layout.entries(told, kept))
    return 8 + len(text) + kept + sum(one.bytes for one in told.values())


def described(name: str, tensor: Tensor, values: str | None) -> tuple[layout.Stored, Tensor]:
    """How a tensor is stored, and the tensor as its values are stored.

    Raises:
        SecateurError: a value does not fit the narrow type, or safetensors has no such type.
    """
    if values is not None and values not in dtypes.NARROW:
        raise SecateurError(f"save: values '{values}'; allowed: None, {', '.join(dtypes.NARROW)}")
    own = layout.described(tensor, f"save: '{name}'")
    if values is None or tensor.ndim < 2 or tensor.dtype not in (torch.float32, torch.float64):
        return own, tensor
    narrow = tensor.detach().to(dtypes.NARROW[values])
    if bool((narrow.isinf() & tensor.isfinite()).any()):
        raise SecateurError(f"save: '{name}' holds values beyond what {values} can; allowed are None, or bf16")
    return replace(layout.described(narrow, name), dtype=own.dtype), narrow


def metadata(model: nn.Module, told: Mapping[str, layout.Stored], settings: Mapping[str, Any] | None,
             program: int) -> dict[str, str]:
    """What the header tells beside the tensors and the checksums."""
    if not isinstance(settings or {}, Mapping):
        raise SecateurError(f"save: settings is a {type(settings).__name__}; allowed is a mapping of names to values")
    try:
        given = json.dumps(dict(settings or {}), allow_nan=False, separators=(",", ":"))
        strict.read_json(given, "save: settings")
    except (TypeError, ValueError) as error:
        raise SecateurError(f"save: settings cannot be written as JSON: {first_line(error)}") from error
    return {"format": f"{layout.FORMAT} {layout.VERSION}", "secateur": __version__, "torch": torch.__version__,
            "network": original(model), "tensors": layout.told_tensors(told),
            "steps": json.dumps([asdict(step) for step in steps(model)], separators=(",", ":")),
            "settings": given, "program": str(program)}


def original(model: nn.Module) -> str:
    """The name of the class that a network has, or had before it became a graph."""
    return model.original if isinstance(model, (FileNetwork, ExportedNetwork)) else type(model).__name__


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
    if not isinstance(model, FileNetwork) and (ours := next((n for n, _ in tensors(model) if n.startswith(":")), None)):
        raise SecateurError(f"save: tensor '{ours}' has a name that the file keeps for itself: rename its module")
    if other := next((k for k, v in model.state_dict().items() if not isinstance(v, Tensor)), None):
        raise SecateurError(f"save: '{other}' of the network's state is no tensor; allowed are tensors only")
