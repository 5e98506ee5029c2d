"""Which values of an old graph share memory, so that operators in place can be taken out of it.

After an operator in place its tensor is another value of the new graph. What it is a view of gets that value put back
into it, and other views are taken again when they are asked for.
"""

from __future__ import annotations

from typing import Any

from secateur.core.errors import SecateurError
from secateur.files.native.program.arguments import Ref, Several
from secateur.files.native.program.rules import RULES

Part = tuple[str, tuple[Any, ...], dict[str, Any]]
_VIEWS = {name for name, rule in RULES.items() if rule.__module__.endswith(".views")} | {
    f"aten.{name}" for name in ("alias.default", "detach.default", "contiguous.default", "to.dtype", "to.device",
                                "to.dtype_layout", "to.other", "type_as.default", "positive.default",
                                "dropout.default", "feature_dropout.default", "alpha_dropout.default",
                                "feature_alpha_dropout.default")} | {"getitem"}
_PERHAPS = ("aten._reshape_alias", "aten.swapaxes", "aten.swapdims", "aten.moveaxis", "aten.ravel", "aten.adjoint",
            "aten.mH", "aten.atleast_", "aten.unsafe_", "aten.split_copy", "aten.tensor_split", "aten.conj")
_BACK = {"aten.slice.Tensor": "aten.slice_scatter.default", "aten.select.int": "aten.select_scatter.default"}
_TURNED = {"aten.view.default": "aten.reshape_as.default", "aten.transpose.int": "aten.transpose.int",
           "aten.unsqueeze.default": "aten.squeeze.dim"}
"""How a changed part is put back into the tensor that it is a view of: into a place of it, or turned into its shape."""
_TIMES = 16


class Gone:
    """A value that no graph of the closed set has, with the operator that is the reason."""

    def __init__(self, reason: str):
        self.reason = reason


class Memory:
    """The values of an old graph as they stand in the new one, whose ``calls`` grow.

    Every old value is the same tensor as the first one of its kind (``same``) and lies in the memory of one
    (``home``). The memory has a version, which an operator in place raises; a value of an earlier version is stale.
    """

    def __init__(self, stored: int, start: int, count: int):
        self.stored, self.start, self.most = stored, start, _TIMES * (count + 100)
        self.steps = 0
        self.calls: list[Part] = []
        self.wrong: list[str] = []
        self.same, self.home, self.at = list(range(start)), list(range(start)), [*map(Ref, range(start))]
        self.origin: list[Part | None] = [None] * start
        self.version, self.fresh = [0] * start, [0] * start

    def add(self, found: Any, home: int | None = None, origin: Part | None = None) -> None:
        """The next value of the old graph: what it is now, in whose memory, and as which view."""
        at = len(self.same)
        home = at if home is None else home
        self.same.append(at)
        self.home.append(home)
        self.version.append(0)
        self.at.append(found)
        self.fresh.append(self.version[home])
        self.origin.append(origin)

    def add_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
        """The next value, which a call gave that changes nothing."""
        if args and type(args[0]) is Ref and (name in _VIEWS or name.startswith(_PERHAPS)):
            self.add(found, self.home[args[0].at], (name, args, kwargs) if name in RULES else None)
        else:
            self.add(found)

    def add_same(self, ref: Ref) -> None:
        """The next value, which is the tensor of an earlier one."""
        first = self.same[ref.at]
        self.add(None, self.home[first])
        self.same[-1] = first

    def change(self, ref: Ref, found: Any, name: str) -> None:
        """An operator in place gave a value new content; the next value is the same tensor."""
        at = self.same[ref.at]
        home = self.home[at]
        if home < self.stored:
            self.refuse(f"{name} on a stored tensor")
        self.version[home] += 1
        while True:
            self._count()
            self.at[at], self.fresh[at] = found, self.version[home]
            if (origin := self.origin[at]) is None:
                break
            base = self.same[origin[1][0].at]
            found = self._put_back(origin, base, found, name)
            at = base
        self.add_same(ref)

    def _put_back(self, origin: Part, base: int, found: Any, name: str) -> Any:
        """The tensor that a changed value is a view of."""
        kind, (_, *rest), kwargs = origin
        whole = self.at[base]
        if isinstance(found, Ref) and isinstance(whole, Ref) and kind in _BACK:
            return self.put_new(_BACK[kind], (whole, found, *map(self.told, rest)), kwargs)
        if isinstance(found, Ref) and isinstance(whole, Ref) and kind in _TURNED:
            return self.put_new(_TURNED[kind], (found, *([whole] if kind == "aten.view.default" else rest)))
        return Gone(f"{name} on a view by {kind}")

    def value(self, ref: Ref | None) -> Any:
        """What an old value is now; a view that is stale is taken again."""
        if ref is None:
            return None
        at, chain = self.same[ref.at], list[int]()
        while self.fresh[at] != self.version[self.home[at]] and (origin := self.origin[at]) is not None:
            self._count()
            chain.append(at)
            at = self.same[origin[1][0].at]
        if self.fresh[at] != self.version[self.home[at]]:
            return Gone("an operator in place on a view")
        for one in reversed(chain):
            name, (_, *rest), kwargs = self.origin[one]  # type: ignore[misc]
            found = self.at[self.same[self.origin[one][1][0].at]]  # type: ignore[index]
            self.at[one] = found if isinstance(found, Gone) else self.put_new(
                name, (found, *map(self.told, rest)), {k: self.told(v) for k, v in kwargs.items()})
            self.fresh[one] = self.version[self.home[one]]
        return self.at[self.same[ref.at]]

    def told(self, value: Any) -> Any:
        """An argument of the old graph for the new one."""
        if type(value) is Ref:
            found = self.value(value)
            if isinstance(found, Ref):
                return found
            self.refuse(found.reason if isinstance(found, Gone) else "several outputs as one")
            return Ref(0)
        return Several(map(self.told, value)) if type(value) is Several else value

    def put(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ref:
        """A call with arguments of the old graph."""
        return self.put_new(name, tuple(map(self.told, args)), {k: self.told(v) for k, v in kwargs.items()})

    def put_new(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Ref:
        """A call with arguments of the new graph."""
        self._count()
        self.calls.append((name, args, kwargs or {}))
        return Ref(self.start + len(self.calls) - 1)

    def _count(self) -> None:
        """Bound the work.

        Raises:
            SecateurError: it is many times as much as the old graph is long.
        """
        self.steps += 1
        if self.steps > self.most:
            raise SecateurError("the graph changes views in place too often: it cannot be rewritten in a bounded time")

    def refuse(self, name: str) -> Gone:
        """An operator that has no place in the closed set."""
        if name not in self.wrong:
            self.wrong.append(name)
        return Gone(name)
