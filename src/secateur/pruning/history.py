"""What a cut network remembers of the neurons that went: enough to cut another copy of the original alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from secateur import graph
from secateur.core.bitmask import pack_bits, unpack_bits
from secateur.core.errors import SecateurError
from secateur.core.modules import device_of, parameter_shapes
from secateur.core.tensors import type_and_shape
from secateur.core.types import Cut, Group, Plan, Structure
from secateur.data.input_spec import InputSpec
from secateur.measure.size import tensors

NAME = "_secateur_steps"


@dataclass(frozen=True)
class Step:
    """One cut of neurons.

    Attributes:
        tensors: of the network before it, type and shape by name, such as ``float32[4, 3]``.
        keeps: for each group its name, the digest of its members, its units, and what stays as packed bits.
        example: the shapes and types of the inputs that it was traced with; empty where they are no tensors.
        proved: whether the cut was proved, and so has to be again.
    """

    tensors: dict[str, str]
    keeps: tuple[tuple[str, str, int, str], ...]
    example: str
    proved: bool


def steps(network: nn.Module) -> tuple[Step, ...]:
    """The cuts of neurons that made a network, the first one first.

    >>> steps(nn.Linear(2, 2))
    ()
    """
    return tuple(network.__dict__.get(NAME, ()))


def remember(network: nn.Module, made: Sequence[Step]) -> nn.Module:
    """Keep the cuts with a network: its copies have them, too."""
    network.__dict__[NAME] = tuple(made)
    return network


def step(model: nn.Module, cuts: Sequence[Cut], example: Any, proved: bool) -> Step:
    """One cut of a network as it is kept; ``example`` may be None."""
    keeps = tuple((c.name, digest(c.group), c.group.units, pack_bits(c.keep)) for c in cuts if c.group)
    return Step(tensor_shapes(model), keeps, "" if example is None else InputSpec.of(example).to_json(), proved)


def tensor_shapes(model: nn.Module) -> dict[str, str]:
    """Type and shape of every tensor of a network.

    >>> tensor_shapes(nn.Linear(3, 4, bias=False))
    {'weight': 'float32[4, 3]'}
    """
    return {name: type_and_shape(t) for name, t in tensors(model)}


def digest(group: Group) -> str:
    """The first 16 hex digits of the SHA-256 of a group's members, wherever the group's name comes from."""
    return hashlib.sha256(json.dumps([asdict(m) for m in group.members]).encode()).hexdigest()[:16]


def plan_of_step(network: nn.Module, step: Step, example: Any = None) -> Plan:
    """The plan that cuts a network as another copy of it was cut.

    Raises:
        SecateurError: there is no example, or the network's code ties other axes together than it did.
    """
    if example is None and not step.example:
        raise SecateurError("the cut was traced with inputs that are not tensors: pass similar inputs as example=")
    inputs = InputSpec.from_json(step.example).random(device=device_of(network)) if example is None else example
    structure, groups = _find_groups(network, step, inputs)
    if odd := next((name for name, key, units, _ in step.keeps if groups[key].units != units), None):
        raise SecateurError(f"the network's group '{odd}' has a different number of units from the one that was cut")
    cuts = tuple(Cut(groups[key].name, unpack_bits(bits, units), groups[key]) for _, key, units, bits in step.keeps)
    return Plan("neuron", "saved", "layer", 0.0, cuts, parameter_shapes(network), structure=structure)


def _find_groups(network: nn.Module, step: Step, example: Any) -> tuple[Structure, dict[str, Group]]:
    """The structure of a network that has the groups of a cut, and its groups by digest."""
    for inner in (False, True):
        structure = graph.trace(network, example, inner)
        groups = {digest(g): g for g in structure.groups}
        missing = [name for name, key, _, _ in step.keeps if key not in groups]
        if not missing:
            return structure, groups
    raise SecateurError(f"the network has no group '{missing[0]}' like the one that was cut: its code, torch or "
                        "secateur has changed since")
