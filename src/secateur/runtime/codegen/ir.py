"""A thin layer over llvmlite's builder: loops, pointers in bytes, vectors of f32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from llvmlite import ir

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, VOID = ir.FloatType(), ir.VoidType()
PTR = ir.PointerType()
WORD = 8
KERNEL = ir.FunctionType(VOID, [PTR, PTR, PTR, I64, I64, I64, I64])
"""Every kernel: step words, arena, external pointers, first batch row, valid rows, part, parts."""


def vector(lanes: int) -> Any:
    """The type of ``lanes`` f32 values."""
    return ir.VectorType(F32, lanes)


class Emit:
    """Builds one function in one module."""

    def __init__(self, name: str, signature: Any = KERNEL):
        self.module = ir.Module(name=name)
        self.function = ir.Function(self.module, signature, name=name)
        self.function.attributes.add("nounwind")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.args = self.function.args

    def finish(self) -> str:
        """Close the function; its text."""
        self.b.ret_void()
        return str(self.module)

    def i(self, value: int) -> Any:
        """A 64-bit constant."""
        return ir.Constant(I64, value)

    def word(self, pointer: Any, index: int) -> Any:
        """The 64-bit word ``index`` behind a pointer."""
        return self.load(self.at(pointer, index * WORD), I64)

    def pointer(self, pointer: Any, index: int) -> Any:
        """The word ``index`` behind a pointer, as a pointer."""
        return self.b.inttoptr(self.word(pointer, index), PTR)

    def function_at(self, word: Any, signature: Any) -> Any:
        """The function whose address is a word."""
        return self.b.inttoptr(word, signature.as_pointer())

    def at(self, pointer: Any, offset: Any) -> Any:
        """A pointer ``offset`` bytes on."""
        return self.b.gep(pointer, [self.i(offset) if isinstance(offset, int) else offset], source_etype=I8)

    def load(self, pointer: Any, kind: Any, align: int = 0) -> Any:
        """Load one value; vectors and f32 need only the alignment of f32."""
        return self.b.load(pointer, align=align or _align(kind), typ=kind)

    def weights(self, pointer: Any, count: int, half: bool) -> Any:
        """``count`` stored weights as a vector of f32, or one as a scalar.

        A bf16 is the upper half of the f32 of the same value: a shift by 16 bits gives it back.
        """
        if not half:
            return self.load(pointer, vector(count) if count > 1 else F32)
        narrow, wide, kind = (k if count == 1 else ir.VectorType(k, count) for k in (I16, I32, F32))
        bits = self.b.zext(self.load(pointer, narrow, 2), wide)
        return self.b.bitcast(self.b.shl(bits, ir.Constant(wide, 16 if count == 1 else [16] * count)), kind)

    def read(self, pointer: Any, lanes: int, mask: Any = None, rest: Any = None) -> Any:
        """A vector of f32 from memory; where a mask has holes, memory is not read and ``rest`` stands."""
        if mask is None:
            return self.load(pointer, vector(lanes))
        arguments = [pointer, ir.Constant(I32, 4), mask, rest]
        return self.call(f"llvm.masked.load.v{lanes}f32.p0", vector(lanes), arguments)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Store one value; of a vector of f32, only the lanes of a mask."""
        if mask is None:
            self.b.store(value, pointer, align=_align(value.type))
        else:
            self.call(f"llvm.masked.store.v{value.type.count}f32.p0", VOID, [value, pointer, ir.Constant(I32, 4), mask])

    def lanes_below(self, count: Any, lanes: int, unit: int = 1) -> Any:
        """The mask of the lanes whose number times ``unit`` is below a count."""
        steps = ir.Constant(ir.VectorType(count.type, lanes), [unit * k for k in range(lanes)])
        return self.b.icmp_signed("<", steps, self.splat(count, lanes))

    def times(self, value: Any, factor: int) -> Any:
        """A 64-bit integer times a constant."""
        return self.b.mul(value, self.i(factor))

    def index16(self, pointer: Any) -> Any:
        """An unsigned 16-bit value as a 64-bit one."""
        return self.b.zext(self.load(pointer, I16, 2), I64)

    def index32(self, pointer: Any) -> Any:
        """A signed 32-bit value as a 64-bit one."""
        return self.b.sext(self.load(pointer, I32, 4), I64)

    def splat(self, scalar: Any, lanes: int) -> Any:
        """A vector with the same value in every lane."""
        kind = ir.VectorType(scalar.type, lanes)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined),
                                     ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))

    def const(self, value: float, lanes: int) -> Any:
        """A constant f32 vector."""
        return ir.Constant(vector(lanes), [value] * lanes)

    def scalar(self, value: float) -> Any:
        """A constant f32."""
        return ir.Constant(F32, value)

    def opaque(self, value: int, lanes: int) -> Any:
        """A vector of one 32-bit integer that LLVM does not see through, so that permutations by it stay."""
        kind = ir.VectorType(I32, lanes)
        constant = ir.Constant(kind, [value] * lanes)
        return self.b.asm(ir.FunctionType(kind, [kind]), "", "=v,0", [constant], False)

    def shuffle(self, a: Any, b: Any, order: Sequence[int]) -> Any:
        """Lanes picked from two vectors."""
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), list(order)))

    def call(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """Call an intrinsic or function by name, declaring it at first use."""
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(result, [a.type for a in arguments]), name=name)
        return self.b.call(function, arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c`` rounded once."""
        suffix = f"v{a.type.count}f32" if isinstance(a.type, ir.VectorType) else "f32"
        return self.call(f"llvm.fma.{suffix}", a.type, [a, b, c])

    def prefetch(self, pointer: Any) -> None:
        """Ask for the line behind a pointer; any address is allowed."""
        self.call("llvm.prefetch.p0", VOID, [pointer, *(ir.Constant(I32, k) for k in (0, 3, 1))])

    def var(self, initial: Any) -> Any:
        """A mutable variable (promoted to a register by LLVM)."""
        with self.b.goto_entry_block():
            slot = self.b.alloca(initial.type)
        self.b.store(initial, slot)
        return slot

    def get(self, variable: Any) -> Any:
        """The value of a variable."""
        return self.b.load(variable, typ=variable.allocated_type)

    def set(self, variable: Any, value: Any) -> None:
        """Change a variable."""
        self.b.store(value, variable)

    @contextlib.contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Any]:
        """``for index in range(start, stop, step)``."""
        start, stop, step = (self.i(v) if isinstance(v, int) else v for v in (start, stop, step))
        head, body, done = (self.function.append_basic_block(n) for n in ("head", "body", "done"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        index.add_incoming(start, before)
        self.b.cbranch(self.b.icmp_signed("<", index, stop), body, done)
        self.b.position_at_end(body)
        yield index
        index.add_incoming(self.b.add(index, step), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(done)

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller of two signed integers."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)


def _align(kind: Any) -> int:
    if isinstance(kind, ir.VectorType):
        return _align(kind.element)
    return {I8: 1, I16: 2, I32: 4, F32: 4}.get(kind, 8)
