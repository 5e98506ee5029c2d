"""What every rule that lowers a node works with: the node's arguments and constants, and the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from secateur.core.modules import at
from secateur.runtime.ops import Op, Value

Values = Callable[[Any], Value]


class Refused(Exception):  # noqa: N818
    """Why a node stays torch."""


@dataclass(frozen=True)
class ExportedCall:
    """One exported node, the module that holds its constants, and the value of each node that it may read."""

    module: fx.GraphModule
    node: fx.Node
    value: Values

    @property
    def source(self) -> Value:
        """The value of the node's first argument."""
        return self.value(self.node.args[0])

    @property
    def output(self) -> Value:
        """The value that the node makes."""
        return self.value(self.node)

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument of the node by place or name."""
        return argument(self.node, index, name, default)

    def constant(self, index: int, what: str) -> NDArray[np.float32] | None:
        """The array of an argument that is a parameter or buffer, or None where there is none.

        Raises:
            Refused: it is computed, or no float32.
        """
        return constant(self.module, self.argument(index, what), what)

    def op(self, kind: str, *inputs: Value, **fields: Any) -> Op:
        """The operator that the node becomes; without inputs it reads the first argument."""
        return Op(kind, _origin(self.node), inputs or (self.source,), self.output, **fields)


Rule = Callable[[ExportedCall], Op]


def _origin(node: fx.Node) -> str:
    """The module of the network that a node came from."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [path for path, _ in stack.values() if path]
    return names[-1] if names else node.name


def constant(module: fx.GraphModule, node: Any, what: str) -> NDArray[np.float32] | None:
    """The array of a parameter or buffer, transposed where the graph transposes it; or None."""
    if node is None:
        return None
    if not is_constant(node):
        raise Refused(f"its {what} is computed, not fixed")
    if node.op != "get_attr":
        turned = constant(module, node.args[0], what)
        assert turned is not None
        return np.ascontiguousarray(turned.T)
    tensor = at(module, str(node.target))
    if tensor.dtype != torch.float32:
        raise Refused(f"its {what} is {tensor.dtype}")
    return np.ascontiguousarray(tensor.detach().numpy())


_TRANSPOSES = {torch.ops.aten.t.default, torch.ops.aten.transpose.int, torch.ops.aten.permute.default,
         torch.ops.aten.numpy_T.default}


def is_constant(node: Any) -> bool:
    """Whether a node is a parameter or buffer, or a matrix of them transposed."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "get_attr":
        return True
    if node.target not in _TRANSPOSES or axes_of(node) != 2 or not is_constant(node.args[0]):
        return False
    return node.target is not torch.ops.aten.permute.default or [a % 2 for a in node.args[1]] == [1, 0]  # type: ignore[union-attr,operator]


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument by place or name."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def axes_of(node: Any) -> int:
    """How many axes the tensor of a node has."""
    tensor = node.meta.get("val") if isinstance(node, fx.Node) else None
    if not isinstance(tensor, Tensor):
        raise Refused("it is not a tensor")
    return tensor.ndim


def same(size: Any, other: Any) -> bool:
    """Whether two sizes are equal; symbols are compared by their expression."""
    return isinstance(size, torch.SymInt) is isinstance(other, torch.SymInt) and str(size) == str(other)
