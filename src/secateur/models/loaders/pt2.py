"""An exported program in a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, failing
from secateur.core.network_options import Options
from secateur.data.input_spec import InputSpec, TensorSpec
from secateur.graph.capture import input_nodes, quiet
from secateur.models.loaders._archive import read_checked
from secateur.models.loaders._rebuild_layers import rebuild_layers
from secateur.models.loaders.base import Kind, Source, refuse


class Pt2(Kind):
    """``FILE.pt2``, as ``torch.export.save`` writes it: its graph becomes a network of torch's layers, with the names
    that its tensors have."""

    form = "FILE.pt2"
    suffix = ".pt2"

    def recognises(self, text: str) -> bool:
        """Whether it ends so."""
        return text.endswith(".pt2")

    def load(self, text: str, options: Options) -> Source:
        """The network of the graph; it takes the batches that the program takes."""
        refuse(options, f"'{text}'", "weights", "factory")
        path = Path(text).expanduser()
        check_trusted(path, options)
        program = open_program(path)
        with failing(f"cannot find inputs for '{path}'"):
            batch, example = _fixed_batch(program), example_of(program)
        notes = (f"'{text}' was exported for batches of {batch} only",) if batch else ()
        random = "" if program.example_inputs else "inputs of the program's sizes"
        return Source(partial(network, path), f"lambda: secateur.models.network('{text}', trusted=True)",
                      example, notes=notes, batch=batch, drawn=random)


def check_trusted(path: Path, options: Options) -> None:
    """Refuse an exported program that the user does not trust: it is a program, whatever was looked at.

    Raises:
        SecateurError: it is not there, or not trusted; the message says how.
    """
    if not path.is_file():
        raise SecateurError(f"cannot read '{path}': there is no such file")
    if not options.trust:
        raise SecateurError(f"'{path}' is a program of torch.export, which torch runs; if you know who made it, open "
                            "it with --trust (in Python trusted=True)")


def open_program(path: Path) -> ExportedProgram:
    """The program of a file that is trusted, looked at first; torch reads what was looked at.

    Raises:
        SecateurError: the file is missing, or no exported program without pickles and foreign code.
    """
    held = read_checked(path)
    with quiet(), failing(f"torch.export cannot load '{path}'", "was it written by another version of torch?"):
        return torch.export.load(held)


def network(path: Path) -> nn.Module:
    """The network of a file."""
    program = open_program(path)
    with failing(f"'{path}' cannot be converted to a network of layers"):
        return rebuild_layers(program)[0]


def example_of(program: ExportedProgram) -> Any:
    """The inputs that a program was exported with, or random ones where it takes floating-point tensors alone and the
    file does not hold them: a tuple, or a dict by name; None where nothing says what they are.

    Raises:
        SecateurError: it takes positional and keyword inputs together.
    """
    args, kwargs = program.example_inputs or _random_inputs(program)
    if args and kwargs:
        raise SecateurError(f"the program takes {len(args)} positional inputs and {', '.join(kwargs)} by name; allowed "
                            "are all by position or all by name: export it again that way")
    return (dict(kwargs) if kwargs else tuple(args)) or None


def _random_inputs(program: ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Random inputs of the sizes that a program takes, open ones as they were when it was exported; none where one is
    no floating-point tensor."""
    values, spec = _traced_inputs(program), program.call_spec.in_spec
    if spec is None or not all(isinstance(v, Tensor) and v.is_floating_point() for v in values):
        return (), {}
    sizes = [[s if isinstance(s, int) else s.node.hint or 2 for s in v.shape] for v in values]
    tensors = [TensorSpec(tuple(size), v.dtype) for size, v in zip(sizes, values, strict=True)]
    args, kwargs = InputSpec(pytree.tree_unflatten(tensors, spec)).random()
    return args, kwargs


def _traced_inputs(program: ExportedProgram) -> list[Any]:
    """What stands for each input in the graph."""
    return [node.meta.get("val") for node in input_nodes(program)]


def _fixed_batch(program: ExportedProgram) -> int:
    """The only size of a batch that a program takes; 0 where the first axis of its inputs is open."""
    sizes = [v.shape[0] for v in _traced_inputs(program) if isinstance(v, Tensor) and v.ndim]
    return next((int(size) for size in sizes if isinstance(size, int)), 0)
