"""The nouns, as frozen values: target, member, group, structure, cut, plan.

Words are used as everywhere in the project: *sparsity* is the fraction removed, *granularity* is what one item is, a
*group* is a set of axes that must be cut together, a *plan* says exactly what is removed where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from secateur.core.text import join_first


@dataclass(frozen=True)
class Target:
    """One prunable tensor: the weight of a linear or convolutional layer.

    ``axes`` names the dimensions in order, for example ``("out", "in", "height", "width")``.
    """

    name: str
    module: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Member:
    """Where the units of a group lie along one axis of one tensor.

    Unit ``u`` owns the positions ``offset + loops + u * inner + i`` for ``i`` in ``range(inner)``. ``loops`` lists
    outer repetitions as ``(count, stride)``: the layout of a channel in a packed, grouped or flattened axis. ``role``
    is ``"out"`` where the tensor produces the units, ``"in"`` where it consumes them, ``"along"`` where it only
    accompanies them (a bias, a norm, a buffer).

    >>> Member("qkv.weight", 0, "out", units=2, loops=((3, 4),), inner=2).positions().tolist()
    [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    """

    tensor: str
    axis: int
    role: str
    units: int
    offset: int = 0
    loops: tuple[tuple[int, int], ...] = ()
    inner: int = 1

    def positions(self) -> Tensor:
        """The positions along the axis: int64, shape ``(units, positions of one unit)``."""
        found = torch.arange(self.units).view(-1, 1) * self.inner + self.offset
        for count, stride in (*self.loops, (self.inner, 1)):
            found = (found[:, :, None] + torch.arange(count) * stride).flatten(1)
        return found


def _ranges(positions: Tensor) -> str:
    """Positions as text, in at most four ranges.

    >>> _ranges(torch.tensor([4, 0, 1, 2, 8, 9]))
    '0-2, 4, 8-9'
    """
    at = positions.unique()
    ends = torch.cat([(at.diff() != 1).nonzero().flatten(), torch.tensor([len(at) - 1])]).tolist()
    starts = [0, *(e + 1 for e in ends[:-1])]
    found = [f"{at[a]}-{at[b]}" if a < b else f"{at[a]}" for a, b in zip(starts, ends, strict=True)]
    return join_first(found, 4)


@dataclass(frozen=True)
class Group:
    """Axes of several tensors that must be cut together because the network ties them.

    ``unit`` is what one unit is (``"neuron"``, ``"channel"``, ``"head"``, ...). A group that cannot be cut has a
    ``reason``. ``source`` is the line of the model's code, where known; ``parameters`` is how many numbers all of the
    units have together.
    """

    name: str
    unit: str
    units: int
    members: tuple[Member, ...]
    reason: str = ""
    source: str = ""
    parameters: int = 0

    def __str__(self) -> str:
        parts = ", ".join(dict.fromkeys(self._where(m) for m in self.members))
        fate = f"stays: {self.reason}" if self.reason else f"{self.parameters} parameters are removed with them"
        return f"{self.name}: {self.units} x {self.unit} ({self.source or 'source unknown'}), {fate}; {parts}"

    def _where(self, member: Member) -> str:
        """A tensor's axis, with the positions of the units where these do not fill the axis from its start."""
        name = f"{member.tensor}[{member.axis}]"
        same = [m for m in self.members if (m.tensor, m.axis) == (member.tensor, member.axis)]
        return f"{name} ({_ranges(torch.cat([m.positions().flatten() for m in same]))})" if (
            len(same) > 1 or member.offset or member.loops) else name

    @property
    def cuttable(self) -> bool:
        """Whether units of this group can be removed."""
        return not self.reason


@dataclass(frozen=True)
class Structure:
    """The targets of a network, its groups, and the layers that make its outputs.

    ``trace`` is the graph itself, by which a cut is proved; it is not pickled. ``example`` is the input that it was
    traced with, from which it can be traced again. ``tied`` lists the names of every tensor that has several,
    ``unknown`` the operators without a rule and the lines that call them. ``outputs`` are all layers that make an
    output, ``output_layers`` those of them that make its last axis alone; the others add to a residual stream.
    ``output_notes`` say so; ``notes`` say how the network was traced: in parts, without its cache.
    """

    targets: tuple[Target, ...]
    groups: tuple[Group, ...] = ()
    outputs: tuple[str, ...] = ()
    trace: Any = field(default=None, compare=False, repr=False)
    example: Any = field(default=None, compare=False, repr=False)
    tied: tuple[tuple[str, ...], ...] = ()
    unknown: tuple[str, ...] = ()
    output_layers: tuple[str, ...] = ()
    output_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        free = [g for g in self.groups if g.cuttable]
        makers = ", ".join(self.outputs) or "no layer"
        yield (f"{len(self.targets)} layers with weights that can be cut; {len(free)} of {len(self.groups)} groups of "
               f"neurons can be cut, {sum(g.units for g in free)} units; outputs made by {makers}")
        yield from (f"  {group}" for group in self.groups)
        yield from (f"  shared tensor with several names: {', '.join(names)}" for names in self.tied)
        yield from ("  operator without a pruning rule, so the tensors it uses are not cut: "
                    f"{name}" for name in self.unknown)
        yield from (f"  note: {note}" for note in (*self.output_notes, *self.notes))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "trace": None}


@dataclass(frozen=True, eq=False)
class Cut:
    """What is kept of one tensor (``keep`` has its shape) or of one group (``keep`` has one entry a unit).

    ``sides`` are those of one item along the axes of ``keep``, where an item is a block of several entries that stay or
    go together; without them every entry is an item. The last block of an axis is smaller where the side does not
    divide the axis. ``granularity`` is what an item is where it differs from the plan's.

    >>> cut = Cut("weight", torch.tensor([[True, True, False], [True, True, False]]), sides=(1, 2))
    >>> cut.items, cut.removed, cut.entries, cut.removed_entries
    (4, 2, 6, 2)
    """

    name: str
    keep: Tensor
    group: Group | None = None
    sides: tuple[int, ...] = ()
    granularity: str = ""

    @property
    def _kept_items(self) -> Tensor:
        """Which items stay: the first entry of a block speaks for all of it."""
        return self.keep[tuple(slice(None, None, side) for side in self.sides)] if self.sides else self.keep

    @property
    def items(self) -> int:
        """How many items there were."""
        return self._kept_items.numel()

    @cached_property
    def removed(self) -> int:
        """How many items are removed."""
        return self.items - int(torch.count_nonzero(self._kept_items))

    @property
    def uneven(self) -> bool:
        """Whether some blocks are smaller than others, because a side does not divide its axis."""
        return any(length % side for length, side in zip(self.keep.shape, self.sides, strict=False))

    @property
    def entries(self) -> int:
        """How many entries ``keep`` has: the weights of a tensor, the units of a group."""
        return self.keep.numel()

    @cached_property
    def removed_entries(self) -> int:
        """How many of them are removed."""
        return self.entries - int(torch.count_nonzero(self.keep))


@dataclass(frozen=True, eq=False)
class Plan:
    """The exact items that a cut removes from each layer. ``sparsity`` was requested, :attr:`reached` is the result.

    ``shapes`` holds the shape of every parameter of the network that the plan was made for; the plan is refused by any
    other network. ``notes`` say where a guard acted. ``bounded`` says whether settings of single layers, or ``least``
    and ``most``, had a part in it.
    """

    granularity: str
    criterion: str
    scope: str
    sparsity: float
    cuts: tuple[Cut, ...]
    shapes: dict[str, tuple[int, ...]]
    notes: tuple[str, ...] = field(default=())
    structure: Structure | None = field(default=None, compare=False, repr=False)
    bounded: bool = False

    @property
    def mixed(self) -> bool:
        """Whether some layers have their own granularity. Weights are then counted instead of items."""
        return any(cut.granularity for cut in self.cuts)

    @property
    def items(self) -> int:
        """The total number of items."""
        return sum(cut.entries if self.mixed else cut.items for cut in self.cuts)

    @property
    def removed(self) -> int:
        """The total number of removed items."""
        return sum(cut.removed_entries if self.mixed else cut.removed for cut in self.cuts)

    @property
    def reached(self) -> float:
        """The sparsity that the cuts give, in [0, 1]."""
        return self.removed / self.items if self.items else 0.0

    def layers(self) -> list[dict[str, Any]]:
        """One record per cut: name, items, removed, sparsity, and the granularity if it differs from the plan's.

        Where blocks differ in size, ``removed_weights`` says how many weights go with them.
        """
        return [{"name": c.name, "items": c.items, "removed": c.removed, "sparsity": c.removed / c.items,
                 **({"removed_weights": c.removed_entries} if c.uneven else {}),
                 **({"granularity": c.granularity} if c.granularity else {})} for c in self.cuts]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        mine, theirs = ((p.granularity, p.criterion, p.scope, p.sparsity, p.shapes, [c.name for c in p.cuts])
                        for p in (self, other))
        return mine == theirs and all(torch.equal(a.keep, b.keep) for a, b in zip(self.cuts, other.cuts, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield (f"{self.granularity} pruning by {self.criterion}, scope {self.scope}: "
               f"{self.removed} of {self.items} removed, sparsity {self.reached:.4f} (asked {self.sparsity:g})")
        for layer in self.layers():
            yield f"  {layer['name']}: {layer['removed']} of {layer['items']} ({layer['sparsity']:.4f})" + (
                f" {layer['granularity']}" if "granularity" in layer else "")
        yield from (f"  note: {note}" for note in self.notes)
