"""The engine of the project's own kernels: a captured network whose segments run compiled plans."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.errors import SecateurError, UnsupportedError
from secateur.runtime.base import Compiled
from secateur.runtime.capture import Captured, capture
from secateur.runtime.explain import explain
from secateur.runtime.isa import pick
from secateur.runtime.segment import Runner

BUDGET = 2.0
"""Seconds for measuring at compile time, and at each new batch size."""


class KernelNetwork(Compiled):
    """A network on the project's own sparse kernels.

    Args:
        model: the network; it is copied.
        example: its inputs.
        budget: seconds for measuring what is fastest; 0 decides by a model of the machine.
        isa: an instruction set by name; by default the best.
        always: never run torch where a kernel can.
    """

    engine = "kernels"

    def __init__(self, model: nn.Module, example: tuple[Any, ...], budget: float = BUDGET, isa: str | None = None,
                 always: bool = False):
        super().__init__()
        chosen = pick(isa)
        if chosen is None:
            raise UnsupportedError("engine 'kernels': no llvmlite, or a processor that it cannot serve; "
                                   "allowed here: csr, torch")
        self.isa, self.shapes = chosen, [tuple(x.shape) for x in example]
        self.captured: Captured = capture(model, example)
        codegen: Any = self.captured.module.graph._codegen
        self.spec = codegen.pytree_info.out_spec
        self.runners = [Runner(segment, dense, chosen, budget, always)
                        for segment, dense in zip(self.captured.segments, self.captured.dense, strict=True)]
        for index, runner in enumerate(self.runners):
            self.captured.module.add_module(f"segment_{index}", runner)
        self.body = flat(self.captured.module)
        self.direct = straight(self.body)
        self.fixed, self.leaf = not self.captured.dynamic, self.spec.is_leaf()
        self.network = copy.deepcopy(model).eval().requires_grad_(False) if self.fixed else None
        self.run(*(x.detach() for x in example))

    def run(self, *inputs: Any) -> Any:
        """The network's outputs."""
        self.check(inputs)
        if self.fixed and self.network is not None and inputs[0].shape != self.shapes[0]:
            return self.network(*inputs)
        leaves = self.runners[0].forward(*inputs) if self.direct else self.body(*inputs)
        return leaves[0] if self.leaf else pytree.tree_unflatten(leaves, self.spec)

    def check(self, inputs: tuple[Tensor, ...]) -> None:
        """Refuse inputs of other counts, ranks, sizes or types than the example's; the batch may differ."""
        if len(inputs) != len(self.shapes):
            raise SecateurError(f"got {len(inputs)} inputs, the network takes {len(self.shapes)}")
        for position, (x, shape) in enumerate(zip(inputs, self.shapes, strict=True)):
            if x.dim() != len(shape) or x.shape[1:] != shape[1:]:
                wanted = ", ".join(("batch", *map(str, shape[1:])))
                raise SecateurError(f"input {position}: got shape {tuple(x.shape)}, allowed: ({wanted})")
            if x.dtype is not torch.float32 and x.is_floating_point() and not torch.is_autocast_enabled("cpu"):
                raise UnsupportedError(f"input {position}: got {x.dtype}, allowed: torch.float32")

    def explain(self) -> str:
        """Every node: the kernel that it got, its sparsity, bytes and share of time; for the others, why not."""
        return explain(self.captured, self.runners, self.isa)


def flat(module: fx.GraphModule) -> fx.GraphModule:
    """The graph with tensors in and a tuple of tensors out, without torch's unpacking of structures at each call."""
    module.graph.set_codegen(fx.graph.CodeGen())
    module.recompile()
    return module.requires_grad_(False)


def straight(module: fx.GraphModule) -> bool:
    """Whether the graph is one segment, fed the inputs in order, its outputs those of the network in order."""
    nodes = [n for n in module.graph.nodes if n.users or n.op in ("output", "placeholder")]
    inputs = [n for n in nodes if n.op == "placeholder"]
    calls = [n for n in nodes if n.op == "call_module"]
    if len(calls) != 1 or list(calls[0].args) != inputs:
        return False
    items = [n for n in nodes if n.op == "call_function"]
    places = [n.args[1] for n in items if n.args[0] is calls[0]]
    return places == list(range(len(items))) and list(nodes[-1].args[0]) == items
