"""Ties between axes: which positions of which dimensions are the same thing.

Rules tie nodes. Tying two nodes that are made of parts ties the parts, and splits leaves where boundaries differ.
What cannot be aligned is fixed, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from secateur.graph.dims import ONE, Nodes


class Axes(Nodes):
    """A union-find over nodes with three bindings: equal, product, sum.

    >>> axes = Axes()
    >>> packed, heads = axes.leaf(12), axes.leaf(3)
    >>> axes.tie(packed, axes.product([heads, axes.leaf(4)]))
    >>> [axes.sizes[f] for f in axes.factors(packed)]
    [3, 4]
    """

    def fix(self, node: int, reason: str) -> None:
        """Say that nothing of a node can be removed, and why; the first reason stays."""
        node = self.find(node)
        if node in self.fixed:
            return
        self.fixed[node] = reason
        for part in self._products.get(node, []) + self._sums.get(node, []):
            self.fix(part, reason)

    def _fix_all(self, nodes: Sequence[int], why: str) -> None:
        for node in nodes:
            self.fix(node, f"{why} at {self.context()}")

    def tie(self, first: int, second: int) -> None:
        """Make two nodes of one size the same thing."""
        a, b = self.find(first), self.find(second)
        if a == b:
            return
        if self.sizes[a] != self.sizes[b]:
            self._fix_all([a, b], f"axes of {self.sizes[a]} and {self.sizes[b]} meet")
            return
        # A leaf goes under a node with parts: the representative has to be the one that knows them.
        if self.is_leaf(b) and not self.is_leaf(a):
            a, b = b, a
        self._parent[a] = b
        if a in self.fixed:
            self.fix(b, self.fixed[a])
        parts_a, parts_b = self._parts(a), self._parts(b)
        if b in self.fixed:
            for part in parts_a[1]:
                self.fix(part, self.fixed[b])
        if parts_a[1]:
            self._tie_parts(parts_a, parts_b)

    def _parts(self, node: int) -> tuple[str, list[int]]:
        if node in self._products:
            return "product", self._products[node]
        return "sum", self._sums.get(node, [])

    def _tie_parts(self, a: tuple[str, list[int]], b: tuple[str, list[int]]) -> None:
        kinds = {a[0], b[0]}
        if kinds == {"product"}:
            self.align(a[1], b[1])
        elif kinds == {"sum"}:
            self._refine(a[1], b[1])
        else:
            self._cross(*((a[1], b[1]) if a[0] == "product" else (b[1], a[1])))

    def align(self, left: Sequence[int], right: Sequence[int]) -> None:
        """Tie two lists of factors with one product, outermost first: what a reshape does."""
        a, b = self._all_factors(left)[::-1], self._all_factors(right)[::-1]
        while a and b:
            x, y = a.pop(), b.pop()
            sx, sy = self.sizes[x], self.sizes[y]
            large, small, rest = (x, y, a) if sx > sy else (y, x, b)
            if sx == sy:
                self.tie(x, y)
            elif self.sizes[large] % self.sizes[small]:
                self._skip(x, y, a, b)
            else:
                outer, inner = self.split(large, self.sizes[large] // self.sizes[small])
                self.tie(outer, small)
                rest.extend(reversed(self.factors(inner)))

    def _all_factors(self, nodes: Sequence[int]) -> list[int]:
        return [f for n in nodes for f in self.factors(n)]

    def _all_segments(self, nodes: Sequence[int]) -> list[int]:
        return [s for n in nodes for s in self.segments(n)]

    def _skip(self, x: int, y: int, a: list[int], b: list[int]) -> None:
        """Fix the smallest block of factors on both sides that have one product, but no common refinement."""
        block, px, py = [x, y], self.sizes[x], self.sizes[y]
        while px != py and (a if px < py else b):
            node = (a if px < py else b).pop()
            block.append(node)
            px, py = (px * self.sizes[node], py) if px < py else (px, py * self.sizes[node])
        self._fix_all(block, "a reshape that mixes axes")

    def split(self, node: int, inner: int) -> tuple[int, int]:
        """A node as a product of two: an outer part and an inner one of size ``inner``."""
        node = self.find(node)
        why = self.fixed.get(node, "")
        pair = self.leaf(self.sizes[node] // inner, why), self.leaf(inner, why)
        if node in self._products:
            self.align([node], pair)
        elif node in self._sums:
            self._cross(pair, [node])
        else:
            self._products[node] = list(pair)
        return pair

    def cut(self, node: int, sizes: Sequence[int]) -> list[int]:
        """A node as a sequence of segments of the given sizes."""
        node = self.find(node)
        why = self.fixed.get(node, "")
        if len([s for s in sizes if s]) == 1:  # a sequence of one segment is that segment
            return [node if s else self.leaf(0, "empty") for s in sizes]
        parts = [self.leaf(size, why) for size in sizes]
        solid = [p for p in parts if self.sizes[p]]
        if node in self._sums:
            self._refine([node], solid)
        elif node in self._products:
            self._cross([node], solid)
        else:
            self._sums[node] = solid
        return parts

    def _refine(self, left: Sequence[int], right: Sequence[int]) -> None:
        """Tie two sequences of segments of one total length."""
        a, b = self._all_segments(left)[::-1], self._all_segments(right)[::-1]
        while a and b:
            x, y = a.pop(), b.pop()
            sx, sy = self.sizes[x], self.sizes[y]
            long, short, rest = (x, y, a) if sx > sy else (y, x, b)
            if sx == sy:
                self.tie(x, y)
            else:
                head, tail = self.cut(long, [self.sizes[short], self.sizes[long] - self.sizes[short]])
                self.tie(head, short)
                rest.extend(reversed(self.segments(tail)))

    def _cross(self, product: Sequence[int], total: Sequence[int]) -> None:
        """Tie a product to a sum: the outer factor is a sum, or the inner part repeats."""
        factors, segments = self._all_factors(product), self._all_segments(total)
        outer, rest = factors[0], self.product(factors[1:])
        period, ends = self.sizes[rest], list(accumulate((self.sizes[s] for s in segments), initial=0))
        if period > 1 and all(self.sizes[s] % period == 0 for s in segments):
            parts = [self.leaf(self.sizes[s] // period) for s in segments]
            self.tie(outer, self.sum(parts))
            for segment, part in zip(segments, parts, strict=True):
                self.tie(segment, self.product([part, rest]))
        elif all(b % period == 0 or e % period == 0 or b // period == e // period for b, e in pairwise(ends)):
            self._repeat(outer, rest, segments)
        else:
            self._fix_all([*factors, *segments], "a sequence that does not fit a product")

    def _repeat(self, outer: int, rest: int, segments: Sequence[int]) -> None:
        """Tie every period of a sequence to the inner part of a product; the outer count is fixed."""
        self.fix(outer, f"the number of equal parts is fixed at {self.context()}")
        periods = [self.leaf(self.sizes[rest]) for _ in range(self.sizes[outer])]
        self._refine(segments, periods)
        for period in periods:
            self.tie(period, rest)


__all__ = ["ONE", "Axes"]
