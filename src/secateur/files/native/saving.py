"""From a network to a file: every bit is kept, in safetensors and never in a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.errors import SecateurError, first_line
from secateur.core.paths import path_of, write_whole
from secateur.core.version import __version__
from secateur.files.native import dtypes, layout, sparse, strict
from secateur.files.native.low_bits import layers_as_text, layers_of
from secateur.files.native.program import FileNetwork, make_graph
from secateur.files.native.write import write_parts, write_tensors
from secateur.graph.check import check_module
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.measure.size import tensors
from secateur.pruning.history import steps
from secateur.runtime.base import Compiled


def save(model: nn.Module, path: str | Path, example: Any = None, values: str | None = None,
         settings: Mapping[str, Any] | None = None) -> Path:
    """Save a network to a safetensors file that :func:`secateur.load` reads.

    Each tensor is stored in whichever of three forms takes the fewest bytes: dense, a bitmask with the values, or the
    gaps between kept values, or between kept blocks of values, in a Rice code. It comes back with the same bits. Layers
    in fewer bits (:func:`secateur.quantize`) are named in the file, with their codes, scales and ranges. A network that
    lost neurons remembers, through copies, training and further cuts, which units of each group were kept; the file
    holds that, with the shapes and types of the example inputs, never their values. The file appears whole or not at
    all.

    Args:
        model: the network. Of a compiled one, save the network that it was compiled from.
        path: the file. Its folder must exist; an existing file is replaced.
        example: inputs, as :func:`secateur.plan` takes them. With them the file holds the network's graph too, which
            ``secateur.load(path)`` runs without the network's code.
        values: ``"bf16"`` or ``"f16"`` stores weights of two axes or more in two bytes each; they come back rounded,
            in their own type. None keeps every bit.
        settings: JSON values that describe the network; :func:`secateur.files.tell` gives them back.

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
    text, constants = _graph_of(model, example)
    told, parts = dict[str, layout.Stored](), dict[str, sparse.Bytes]()
    for name, tensor in [*tensors(model), *constants.items()]:
        told[name], narrow = _describe(name, tensor, None if name in constants else values)
        parts.update(zip(layout.parts(name, told[name]), layout.encode(narrow, told[name]), strict=True))
    parts[layout.PROGRAM] = np.frombuffer(text, np.uint8)
    about = _metadata(model, told, settings, len(text))
    with write_whole(path) as scratch:
        write_parts(scratch, about, layout.entries(told, len(text)), parts)
    return path


def _graph_of(model: nn.Module, example: Any) -> tuple[bytes, dict[str, Tensor]]:
    """The graph to store and its constants: traced with an example, or the one that the network already runs."""
    if example is not None:
        check_module("save", model)
        return make_graph(model, example)
    return (model.program.text if isinstance(model, FileNetwork) else b""), {}


def save_dense(model: nn.Module, path: str | Path) -> Path:
    """Write a network's ``state_dict`` as a plain, dense safetensors file that any tool reads.

    Tensors that share memory are written under each of their names.

    Args:
        model: the network.
        path: the file; an existing one is replaced.

    Raises:
        SecateurError: the file cannot be written.
    """
    path = path_of("save_dense", path)
    check_savable(model)
    with write_whole(path) as scratch:
        write_tensors(model.state_dict(), scratch)
    return path


def file_bytes(model: nn.Module, values: str | None = None, settings: Mapping[str, Any] | None = None) -> int:
    """The bytes of the file that :func:`secateur.save` would write, counted without writing it.

    >>> file_bytes(nn.Linear(64, 64)) > 64 * 64 * 4
    True
    """
    check_savable(model)
    told = {name: _describe(name, tensor, values)[0] for name, tensor in tensors(model)}
    kept = len(_graph_of(model, None)[0])
    text = layout.header({**_metadata(model, told, settings, kept), "data": "0" * 8}, layout.entries(told, kept))
    return 8 + len(text) + kept + sum(one.bytes for one in told.values())


def _describe(name: str, tensor: Tensor, values: str | None) -> tuple[layout.Stored, Tensor]:
    """How a tensor is stored, and the tensor as its values are stored.

    Raises:
        SecateurError: a value does not fit the narrow type, or safetensors has no such type.
    """
    if values is not None and values not in dtypes.NARROW:
        raise SecateurError(f"save: values '{values}'; allowed: None, {', '.join(dtypes.NARROW)}")
    own = layout.describe(tensor, f"save: '{name}'")
    if values is None or tensor.ndim < 2 or tensor.dtype not in (torch.float32, torch.float64):
        return own, tensor
    narrow = tensor.detach().to(dtypes.NARROW[values])
    if bool((narrow.isinf() & tensor.isfinite()).any()):
        raise SecateurError(f"save: '{name}' holds values too large for {values}; allowed are None, or bf16")
    return replace(layout.describe(narrow, name), dtype=own.dtype), narrow


def _metadata(model: nn.Module, told: Mapping[str, layout.Stored], settings: Mapping[str, Any] | None,
             program: int) -> dict[str, str]:
    """The metadata of the header, without the checksums."""
    if not isinstance(settings or {}, Mapping):
        raise SecateurError(f"save: settings is a {type(settings).__name__}; allowed is a mapping of names to values")
    try:
        given = json.dumps(dict(settings or {}), allow_nan=False, separators=(",", ":"))
        strict.read_json(given, "save: settings")
    except (TypeError, ValueError) as error:
        raise SecateurError(f"save: settings cannot be written as JSON: {first_line(error)}") from error
    return {"format": f"{layout.FORMAT} {layout.VERSION}", "secateur": __version__, "torch": torch.__version__,
            "network": _class_name(model), "tensors": layout.tensors_as_text(told),
            "layers": layers_as_text(model.low_bits if isinstance(model, FileNetwork) else layers_of(model)),
            "steps": json.dumps([asdict(step) for step in steps(model)], separators=(",", ":")),
            "settings": given, "program": str(program)}


def _class_name(model: nn.Module) -> str:
    """The name of the class that a network has, or had before it became a graph."""
    return model.original if isinstance(model, (FileNetwork, ExportedNetwork)) else type(model).__name__


def check_savable(model: nn.Module) -> None:
    """Refuse a network that could not be made again from a file."""
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
        raise SecateurError(f"save: tensor '{ours}' has a name that is reserved in the file: rename its module")
    if other := next((k for k, v in model.state_dict().items() if not isinstance(v, Tensor)), None):
        raise SecateurError(f"save: '{other}' of the network's state is not a tensor; allowed are tensors only")
