"""Dimensions as products and sums of factors: what each position of an axis belongs to.

Every dimension of every tensor is a *node*. A node is a free leaf, a product of nodes (a reshape
splits channels into heads and head size) or a sum of nodes (a concatenation, a packed projection).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

# Every axis of size one is this node, which is fixed: a tie through a broadcast axis would join what is not the same.
ONE = 0


@dataclass(frozen=True)
class Place:
    """Where a leaf lies in an axis: unit ``u`` owns ``offset + loops + u * inner + [0, inner)``.

    ``loops`` lists the outer repetitions as ``(count, stride)``.
    """

    leaf: int
    offset: int
    loops: tuple[tuple[int, int], ...]
    inner: int


class Nodes:
    """The nodes of a network: their sizes, what they are made of, which are fixed and why.

    >>> nodes = Nodes()
    >>> packed = nodes.product([nodes.leaf(3), nodes.leaf(4)])
    >>> nodes.sizes[packed], [nodes.sizes[f] for f in nodes.factors(packed)]
    (12, [3, 4])
    """

    def __init__(self) -> None:
        self.sizes: list[int] = [1]
        self._parent: list[int] = [ONE]
        self._products: dict[int, list[int]] = {}
        self._sums: dict[int, list[int]] = {}
        self.fixed: dict[int, str] = {ONE: "size one"}
        self.context: Callable[[], str] = lambda: ""

    def leaf(self, size: int, fixed: str = "") -> int:
        """A new free node, fixed from the start where a reason is given."""
        if size == 1:
            return ONE
        self.sizes.append(size)
        self._parent.append(len(self._parent))
        if fixed:
            self.fixed[len(self._parent) - 1] = fixed
        return len(self._parent) - 1

    def find(self, node: int) -> int:
        """The representative of a node."""
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def product(self, parts: Sequence[int]) -> int:
        """A node that is the product of ``parts``, outermost first."""
        parts = [p for p in parts if self.sizes[p] != 1]
        if len(parts) < 2:
            return parts[0] if parts else ONE
        node = self.leaf(prod(self.sizes[p] for p in parts))
        self._products[node] = list(parts)
        return node

    def sum(self, parts: Sequence[int]) -> int:
        """A node that is the sequence of ``parts``. A part of one position cannot be cut."""
        parts = [p for p in parts if self.sizes[p]]
        if len(parts) < 2:
            return parts[0] if parts else self.leaf(0, "empty")
        node = self.leaf(sum(self.sizes[p] for p in parts))
        self._sums[node] = list(parts)
        return node

    def factors(self, node: int) -> list[int]:
        """The factors of a node, products opened, outermost first, ones left out."""
        node = self.find(node)
        if node in self._products:
            return [f for part in self._products[node] for f in self.factors(part)]
        return [] if self.sizes[node] == 1 else [node]

    def segments(self, node: int) -> list[int]:
        """The segments of a node, sums opened, in order."""
        node = self.find(node)
        if node in self._sums:
            return [s for part in self._sums[node] for s in self.segments(part)]
        return [node]

    def is_leaf(self, node: int) -> bool:
        """Whether a representative is neither a product nor a sum."""
        return node not in self._products and node not in self._sums

    def places(self, node: int, offset: int = 0, loops: tuple[tuple[int, int], ...] = (),
               inner: int = 1) -> Iterator[Place]:
        """Every leaf of a node with where its units lie."""
        node = self.find(node)
        if node in self._products:
            step = inner * self.sizes[node]
            for part in self._products[node]:
                step //= self.sizes[part]
                yield from self.places(part, offset, loops, step)
                loops = (*loops, (self.sizes[part], step))
        elif node in self._sums:
            for part in self._sums[node]:
                yield from self.places(part, offset, loops, inner)
                offset += self.sizes[part] * inner
        elif self.sizes[node] > 1:
            yield Place(node, offset, loops, inner)

    def mask(self, node: int, keeps: dict[int, Tensor]) -> Tensor:
        """Which positions of a node stay, given what stays of its leaves (all of one that is not named)."""
        node = self.find(node)
        if node in self._products:
            mask = torch.ones(1, dtype=torch.bool)
            for part in self._products[node]:
                mask = (mask[:, None] & self.mask(part, keeps)[None]).flatten()
            return mask
        if node in self._sums:
            return torch.cat([self.mask(part, keeps) for part in self._sums[node]])
        return keeps[node] if node in keeps else torch.ones(self.sizes[node], dtype=torch.bool)

    def leaves(self, node: int) -> set[int]:
        """The leaves that lie in a node."""
        return {place.leaf for place in self.places(node)}

    def contains_any(self, node: int, leaves: Collection[int]) -> bool:
        """Whether any of the leaves lies in a node."""
        return not self.leaves(node).isdisjoint(leaves)

    def order(self, node: int, orders: dict[int, Tensor]) -> Tensor:
        """The positions of a node after its leaves' units are put in a new order: int64, one a position."""
        node = self.find(node)
        if node in self._products:
            positions = torch.zeros(1, dtype=torch.int64)
            for part in self._products[node]:
                positions = (positions[:, None] * self.sizes[part] + self.order(part, orders)[None]).flatten()
            return positions
        if node in self._sums:
            starts = [0, *itertools.accumulate(self.sizes[p] for p in self._sums[node])]
            return torch.cat([self.order(p, orders) + s for p, s in zip(self._sums[node], starts, strict=False)])
        return orders[node] if node in orders else torch.arange(self.sizes[node])
