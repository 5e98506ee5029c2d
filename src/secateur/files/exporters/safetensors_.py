"""The plain dense state dict as safetensors, which every tool reads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.files.exporters._program import Subject
from secateur.files.exporters._verify import check_tensors
from secateur.files.exporters.base import Exporter, Int8, Run
from secateur.graph.capture import quiet


class Safetensors(Exporter):
    """Every tensor of ``state_dict()`` under its name, shared ones under each of their names, zeros as zeros."""

    suffix = ".safetensors"
    traced = False

    def write(self, subject: Subject, path: Path, int8: Int8 = False) -> None:
        """Write the state dict.

        Raises:
            SecateurError: it holds what is no tensor.
        """
        safetensors.torch.save_file({n: t.clone() for n, t in _state_dict(subject).items()}, path, {"format": "pt"})

    def open(self, path: Path, subject: Subject) -> Run:
        """The network with the tensors of the file, once these were compared with its own bit for bit."""
        held = safetensors.torch.load_file(path)
        check_tensors(held, _state_dict(subject), f"'{path.name}'")
        with quiet():
            network = copy.deepcopy(subject.model)
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.zero_()
        network.load_state_dict(held)
        other = Subject(network, subject.args, subject.kwargs, subject.original)

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            return other.outputs(inputs)

        return run


def _state_dict(subject: Subject) -> dict[str, Tensor]:
    """The tensors of a network, contiguous."""
    found = subject.model.state_dict()
    if other := next((k for k, v in found.items() if not isinstance(v, Tensor)), None):
        raise SecateurError(f"export: '{other}' of the network's state is not a tensor; allowed are tensors only")
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}
