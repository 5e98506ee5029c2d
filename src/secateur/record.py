"""What a cut network remembers of the neurons that went: enough to cut another copy of the original alike."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur import graph, nested
from secateur.errors import SecateurError
from secateur.measure import device_of, tensors
from secateur.types import Cut, Group, Plan, Structure

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
    keeps = tuple((c.name, digest(c.group), c.group.units, packed(c.keep)) for c in cuts if c.group)
    return Step(described(model), keeps, "" if example is None else outline(example), proved)


def described(model: nn.Module) -> dict[str, str]:
    """Type and shape of every tensor of a network.

    >>> described(nn.Linear(3, 4, bias=False))
    {'weight': 'float32[4, 3]'}
    """
    return {name: f"{str(t.dtype)[6:]}{list(t.shape)}" for name, t in tensors(model)}


def digest(group: Group) -> str:
    """The first 16 hex digits of the SHA-256 of a group's members, wherever the group's name comes from."""
    return hashlib.sha256(json.dumps([asdict(m) for m in group.members]).encode()).hexdigest()[:16]


def again(network: nn.Module, step: Step, example: Any = None) -> Plan:
    """The plan that cuts a network as another copy of it was cut.

    Raises:
        SecateurError: there is no example, or the network's code ties other axes together than it did.
    """
    if example is None and not step.example:
        raise SecateurError("the cut was traced with inputs that are no tensors: give example=, inputs like those")
    inputs = sketched(step.example, device_of(network)) if example is None else example
    structure, groups = found(network, step, inputs)
    if odd := next((name for name, key, units, _ in step.keeps if groups[key].units != units), None):
        raise SecateurError(f"the network's group '{odd}' has another number of units than the one that was cut")
    cuts = tuple(Cut(groups[key].name, unpacked(bits, units), groups[key]) for _, key, units, bits in step.keeps)
    shapes = {n: tuple(p.shape) for n, p in network.named_parameters()}
    return Plan("neuron", "saved", "layer", 0.0, cuts, shapes, structure=structure)


def found(network: nn.Module, step: Step, example: Any) -> tuple[Structure, dict[str, Group]]:
    """The structure of a network that has the groups of a cut, and its groups by digest."""
    for lanes in (False, True):
        structure = graph.trace(network, example, lanes)
        groups = {digest(g): g for g in structure.groups}
        missing = [name for name, key, _, _ in step.keeps if key not in groups]
        if not missing:
            return structure, groups
    raise SecateurError(f"the network has no group '{missing[0]}' like the one that was cut: its code, torch or "
                        "secateur has changed since")


def packed(keep: Tensor) -> str:
    """Booleans as text, eight in a byte."""
    return base64.b64encode(np.packbits(keep.cpu().numpy()).tobytes()).decode()


def unpacked(text: str, count: int) -> Tensor:
    """The booleans of :func:`packed`, ``(count,)``."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count)
    return torch.from_numpy(bits.astype(bool))


def outline(example: Any) -> str:
    """The inputs of a network as JSON without their values; empty where one is neither tensor nor plain value."""
    try:
        return json.dumps(nested.flattened(example, leaf), allow_nan=False)
    except (TypeError, ValueError):
        return ""


def leaf(value: Any) -> dict[str, Any]:
    """One input: type and shape; the bounds of whole numbers, the values of booleans and of what is no tensor."""
    if type(value) in nested.PLAIN:
        return {"value": value}
    if not isinstance(value, Tensor):
        raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")
    found: dict[str, Any] = {"dtype": str(value.dtype)[6:], "shape": list(value.shape)}
    if value.dtype == torch.bool:
        return found | {"bits": packed(value.flatten())}
    if value.is_floating_point() or value.is_complex():
        return found
    return found | {"least": int(value.min()), "most": int(value.max())}


def sketched(text: str, device: torch.device) -> Any:
    """Inputs of those shapes and types: numbers in [0, 1), whole ones between the bounds, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return nested.restored(json.loads(text), lambda told: drawn(told, generator, device))


def between(least: int, most: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random whole numbers from ``least`` to ``most``. Rows of a mask, of noughts and ones, begin with a one: a row
    that is hidden as a whole has no outputs that two runtimes would agree on.

    >>> between(0, 1, (2, 3), torch.Generator().manual_seed(0))[:, 0].tolist()
    [1, 1]
    """
    made = torch.randint(least, most + 1, tuple(shape), generator=generator)
    if (least, most) == (0, 1) and made.ndim > 1 and made.numel():
        made[..., 0] = 1
    return made


def drawn(told: dict[str, Any], generator: torch.Generator, device: torch.device) -> Any:
    """One input."""
    if "value" in told:
        return told["value"]
    kind, shape = getattr(torch, told["dtype"]), told["shape"]
    if "bits" in told:
        made = unpacked(told["bits"], int(np.prod(shape, dtype=int))).view(shape)
    elif "least" in told:
        made = between(told["least"], told["most"], shape, generator).to(kind)
    else:
        made = torch.rand(shape, generator=generator, dtype=kind if kind.is_complex else torch.float64).to(kind)
    return made.to(device)
