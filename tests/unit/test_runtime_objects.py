"""Object files are read before they are loaded: formats, machines, what lies outside of the file, what they link to."""

from __future__ import annotations

import random
import struct

import pytest

from secateur.runtime.codegen import isa
from secateur.runtime.codegen.objects import ObjectError, check_object

pytestmark = pytest.mark.skipif(not isa.available(), reason="no llvmlite, or no instruction set that it serves")

TRIPLES = {"x86_64-unknown-linux-gnu": ("ELF", "x86_64"), "aarch64-unknown-linux-gnu": ("ELF", "aarch64"),
           "x86_64-pc-windows-msvc": ("COFF", "x86_64"), "aarch64-pc-windows-msvc": ("COFF", "aarch64"),
           "x86_64-apple-darwin": ("MachO", "x86_64"), "arm64-apple-darwin": ("MachO", "aarch64")}
KERNEL = """
@table = private constant [4 x i64] [i64 1, i64 2, i64 3, i64 4]
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @kernel(ptr %p, i64 %n, float %f) {
  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 false)
  %q = getelementptr [4 x i64], ptr @table, i64 0, i64 %n
  %v = load i64, ptr %q
  store i64 %v, ptr %p
  %g = fmul float %f, 0x3FD5555560000000
  store float %g, ptr %q
  ret void
}
"""


def emit(triple, text=KERNEL):
    """The object code of a module for a system."""
    from llvmlite import binding

    from secateur.runtime.codegen import jit

    jit._initialize()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("an LLVM without this target")
    machine = target.create_target_machine(reloc="static" if triple[0] == "x" else "pic")
    module = binding.parse_assembly(text)
    module.triple = triple
    return bytes(machine.emit_object(module))


def refuse(code, match, triple="x86_64-unknown-linux-gnu", name="kernel"):
    with pytest.raises(ObjectError, match=match):
        check_object(code, name, *TRIPLES[triple])


@pytest.mark.parametrize("triple", TRIPLES)
def test_a_kernel_is_taken_in_every_format(triple):
    check_object(emit(triple), "kernel", *TRIPLES[triple])


@pytest.mark.parametrize("triple", TRIPLES)
def test_every_other_format_and_machine_is_refused(triple):
    code = emit(triple)
    for other in set(TRIPLES) - {triple}:
        refuse(code, ".", other)


@pytest.mark.parametrize("triple", TRIPLES)
def test_a_file_that_is_cut_short_anywhere_is_refused(triple):
    code = emit(triple)
    # The last bytes of some formats only fill the file up.
    for size in [*range(0, len(code) - 8, 7), len(code) - 8]:
        refuse(code[:size], ".", triple)


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize("name", ["kernel2", "_kernel", "kerne", "", "memset", "table"])
def test_the_function_has_to_be_there(triple, name):
    refuse(emit(triple), "does not define", triple, name)


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize("wanted", ["system", "execve", "dlopen", "printf", "memset2", "__real@3f800000"])
def test_a_symbol_from_outside_is_refused(triple, wanted):
    text = f'declare void @"{wanted}"()\ndefine void @kernel() {{ call void @"{wanted}"() ret void }}'
    refuse(emit(triple, text), f"needs '{wanted}'", triple)


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize("more", ["define void @other() { ret void }", "@data = global i64 5",
                                  "define void @memset() { ret void }", "@shared = common global i64 0",
                                  "define weak void @weak() { ret void }"])
def test_what_else_others_could_link_to_is_refused(triple, more):
    refuse(emit(triple, f"define void @kernel() {{ ret void }}\n{more}"), "(defines|needs|outside)", triple)


@pytest.mark.parametrize("triple", TRIPLES)
def test_a_function_that_is_only_wanted_is_not_defined(triple):
    text = "declare void @kernel()\ndefine void @x() { call void @kernel() ret void }"
    refuse(emit(triple, text), "does not define", triple)


@pytest.mark.parametrize("triple", TRIPLES)
def test_damaged_bytes_are_refused_or_harmless(triple):
    code, generator = emit(triple), random.Random(0)
    for _ in range(400):
        changed = bytearray(code)
        for _ in range(generator.choice([1, 3])):
            place = generator.randrange(min(len(code), generator.choice([64, len(code)])))
            changed[place] = generator.choice([0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)])
        try:
            check_object(bytes(changed), "kernel", *TRIPLES[triple])
        except ObjectError:
            continue


def test_counts_and_places_beyond_the_file_are_refused():
    code = emit("x86_64-unknown-linux-gnu")
    for place, layout, value in [(40, "<Q", 1 << 63), (40, "<Q", len(code)), (60, "<H", 0xFFFF), (58, "<H", 0),
                                 (16, "<H", 2), (16, "<H", 3), (18, "<H", 3), (4, "<B", 1), (5, "<B", 2)]:
        changed = bytearray(code)
        struct.pack_into(layout, changed, place, value)
        refuse(bytes(changed), ".")
