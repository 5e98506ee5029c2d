"""The engine ``kernels``: a captured network whose segments run as programs of the project's own kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.measure.compare import difference
from secateur.runtime.base import Compiled, check_runs, check_state, clone
from secateur.runtime.codegen.isa import pick
from secateur.runtime.execute.segment import Runner
from secateur.runtime.explain import OperatorRow, explain, rows
from secateur.runtime.frontend.capture import Captured, capture
from secateur.runtime.packing.storage import as_stored, check_storage

_BUDGET = 2.0
"""Seconds for measuring at compile time, and at each new batch size."""


class KernelNetwork(Compiled):
    """A network on the project's own sparse kernels.

    Args:
        model: the network; it is copied.
        example: its inputs.
        budget: seconds for measuring what is fastest; 0 decides by a model of the machine.
        isa: an instruction set by name; by default the best.
        always: never run torch where a kernel can.
        storage: ``f32``, or ``bf16``: weights of the kernels rounded to eight significant bits, half the bytes.

    ``error`` is what ``bf16`` changed in the outputs of the example: the largest difference of an output as a
    fraction of its largest value.
    """

    engine = "kernels"

    def __init__(self, model: nn.Module, example: tuple[Any, ...], budget: float = _BUDGET, isa: str | None = None,
                 always: bool = False, storage: str = "f32"):
        super().__init__()
        chosen, self.storage = pick(isa), check_storage(storage)
        if chosen is None:
            raise UnsupportedError("engine 'kernels': llvmlite is missing or does not support this processor; allowed "
                                   "here: csr, torch")
        self.isa = chosen
        self._dtypes = [x.dtype for x in example]
        self._holds: dict[Any, bool] = {}
        check_state(model, example)
        self.captured: Captured = capture(model, example)
        self.captured.segments[:] = [as_stored(segment, storage) for segment in self.captured.segments]
        codegen: Any = self.captured.module.graph._codegen
        self.spec = codegen.pytree_info.out_spec
        # A segment's share of the budget is its fraction of all multiplications, zeros counted.
        work = [sum(op.weight.size * op.settings.get("positions", 1) for op in segment.ops if op.weight is not None)
                for segment in self.captured.segments]
        parts = zip(self.captured.segments, self.captured.dense, work, strict=True)
        self.runners = [Runner(segment, dense, chosen, budget * done / sum(work), always)
                        for segment, dense, done in parts]
        for index, runner in enumerate(self.runners):
            self.captured.module.add_module(f"segment_{index}", runner)
        # Tensors in and a tuple of tensors out: torch's own unpacking of structures takes time at each call.
        self.captured.module.graph.set_codegen(fx.graph.CodeGen())
        self.captured.module.recompile()
        self.body = self.captured.module.requires_grad_(False)
        self.direct = _is_one_segment(self.body)
        self.leaf = self.spec.is_leaf()
        outputs = self.run(*map(clone, example))
        self.error = 0.0 if storage == "f32" else difference(outputs, check_runs(model, example))

    def run(self, *inputs: Any) -> Any:
        """The network's outputs."""
        if not self._takes(inputs):
            return self.captured.export.network(*inputs)
        leaves = self.runners[0].forward(*inputs) if self.direct else self.body(*inputs)
        return leaves[0] if self.leaf else pytree.tree_unflatten(leaves, self.spec)

    def _takes(self, inputs: tuple[Tensor, ...]) -> bool:
        """Whether the compiled graph holds for inputs; if not, the network itself runs. The answer is kept by sizes."""
        tracing = torch.compiler.is_compiling()
        key = None if tracing else tuple([(x.shape, x.dtype, x.layout) for x in inputs])
        found = self._holds.get(key)
        if found is None:
            self._check(inputs)
            found = self.captured.export.takes(inputs)
            if not tracing and not torch.is_autocast_enabled("cpu"):
                self._holds[key] = found
        return found

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        """Refuse inputs of other counts, ranks, sizes or types than the example's; what was left open may differ."""
        if len(inputs) != len(self._dtypes):
            raise SecateurError(f"got {len(inputs)} inputs, the network takes {len(self._dtypes)}")
        rows = None
        for position, (x, sizes, like) in enumerate(zip(inputs, self.captured.export.sizes, self._dtypes, strict=True)):
            if x.ndim != len(sizes) or any(a != b for a, b in zip(x.shape[1:], sizes[1:], strict=True)
                                           if isinstance(b, int)):
                wanted = ", ".join(("batch", *(str(s) if isinstance(s, int) else "any" for s in sizes[1:])))
                raise SecateurError(f"input {position}: got shape {tuple(x.shape)}, allowed: ({wanted})")
            if x.layout != torch.strided:
                raise UnsupportedError(f"input {position}: got layout {x.layout}, allowed: torch.strided")
            lower = x.dtype in (torch.float32, torch.bfloat16, torch.float16)
            if x.dtype != like and not (lower and torch.is_autocast_enabled("cpu")):
                raise UnsupportedError(f"input {position}: got {x.dtype}, allowed: {like}")
            if rows is not None and x.ndim and x.shape[0] != rows:
                raise SecateurError(f"input {position}: got {x.shape[0]} rows, input 0 has {rows}")
            rows = x.shape[0] if position == 0 and x.ndim and self.captured.dynamic else rows

    def rows(self) -> list[OperatorRow]:
        """What :meth:`explain` says, as data: one row an operator, for every count of rows that was met."""
        return rows(self.captured, self.runners)

    def explain(self) -> str:
        """Every node: the kernel that it got, its sparsity, bytes and share of time; for the others, why not."""
        text = explain(self.captured, self.runners, self.isa)
        if self.storage == "f32":
            return text
        return (text + f"\nweights stored as {self.storage}: outputs of the example differ by {self.error:.1e} of "
                "the largest")


def _is_one_segment(module: fx.GraphModule) -> bool:
    """Whether the graph is one segment, fed the inputs in order, its outputs those of the network in order."""
    nodes = [n for n in module.graph.nodes if n.users or n.op in ("output", "placeholder")]
    inputs = [n for n in nodes if n.op == "placeholder"]
    calls = [n for n in nodes if n.op == "call_module"]
    if len(calls) != 1 or list(calls[0].args) != inputs:
        return False
    items = [n for n in nodes if n.op == "call_function"]
    places = [n.args[1] for n in items if n.args[0] is calls[0]]
    return places == list(range(len(items))) and list(nodes[-1].args[0]) == items
