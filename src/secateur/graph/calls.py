"""What a call of the graph is called, and which line of the model's source made it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import fx


def base_name(node: fx.Node) -> str:
    """The operator's name without namespace and overload: ``aten.conv2d.default`` is ``conv2d``."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[-1] if schema else getattr(node.target, "__name__", str(node.target))


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by the names of its operator's schema, defaults filled in."""
    return bind_arguments(node, node.args, node.kwargs)


def bind_arguments(node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Other arguments for a call, by name as :func:`arguments_of` gives its own."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    named = dict(zip((a.name for a in schema), args, strict=False))
    return {a.name: a.default_value for a in schema} | named | dict(kwargs)


def reduced_dims(dims: Any, rank: int) -> list[int]:
    """The axes that a reduction goes over, counted from the front; all where the call names none.

    >>> reduced_dims(-1, 3), reduced_dims([], 2)
    ([2], [0, 1])
    """
    dims = [dims] if isinstance(dims, int) else dims
    return [d % rank for d in dims] if dims else list(range(rank))


def upstream(node: fx.Node, dead: Collection[tuple[fx.Node, fx.Node]] = ()) -> set[fx.Node]:
    """A node with everything that it is computed from, without the ways over the ``dead`` edges ``(source, user)``."""
    nodes, stack = {node}, [node]
    while stack:
        user = stack.pop()
        fresh = [n for n in user.all_input_nodes if n not in nodes and (n, user) not in dead]
        nodes.update(fresh)
        stack += fresh
    return nodes


def describe_call(node: fx.Node) -> str:
    """The operator and the line of the model's source that called it."""
    return f"{base_name(node)} ({source_of(node)})"


def source_of(node: fx.Node) -> str:
    """The innermost line of the model's source that made a call: ``file.py:12``."""
    frames = [line for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File ")]
    own = [f for f in frames if "/torch/nn/modules/" not in f] or frames
    if not own:
        return "source unknown"
    _, path, rest = own[-1].split('"', 2)
    return f"{path.rsplit('/', 1)[-1]}:{rest.split('line ')[1].split(',')[0]}"
