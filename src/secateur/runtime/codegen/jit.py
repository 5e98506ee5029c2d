"""Compiles LLVM IR to machine code, loads it, and keeps the object code on disk."""

from __future__ import annotations

import functools
import hashlib
import threading
from typing import Any

from llvmlite import binding

from secateur.runtime.codegen import cache
from secateur.runtime.codegen.isa import Isa, architecture, pick
from secateur.runtime.codegen.objects import ObjectError, check_object

_LOCK = threading.RLock()


@functools.cache
def _initialize() -> None:
    if not hasattr(binding, "initialize_all_targets"):
        binding.initialize()
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        return
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()


def _machine(isa: Isa) -> Any:
    """LLVM's target machine for an instruction set.

    On x86-64 with the large code model: code and constants of a kernel are loaded into memory of their own each,
    and in a process that holds much memory these may lie more than 2 GiB apart.
    """
    _initialize()
    triple = binding.get_process_triple() if isa.arch == architecture() else f"{isa.arch}-unknown-linux-gnu"
    reloc, model = ("static", "large") if isa.arch == "x86_64" else ("pic", "small")
    target = binding.Target.from_triple(triple)
    return target.create_target_machine(cpu=isa.cpu, features=isa.features, opt=3, reloc=reloc, codemodel=model)


def emit(text: str, isa: Isa) -> bytes:
    """Object code of a module of IR."""
    target, module = _optimize(text, isa)
    return bytes(target.emit_object(module))


def assembly(text: str, isa: Isa) -> str:
    """Assembly of a module of IR, to read it."""
    target, module = _optimize(text, isa)
    return str(target.emit_assembly(module))


def _optimize(text: str, isa: Isa) -> tuple[Any, Any]:
    """The target machine and the optimised module of IR text."""
    target = _machine(isa)
    module = binding.parse_assembly(text)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    # Kernels are vectorised and unrolled as they are written; LLVM is not to do either again.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return target, module


@functools.cache
def _engine() -> Any:
    _initialize()
    isa = pick()
    assert isa is not None
    return binding.create_mcjit_compiler(binding.parse_assembly(""), _machine(isa))


_LOADED: dict[str, int] = {}


def address(spec: Any, isa: Isa) -> int:
    """The address of the function that ``spec.text(isa)`` describes: loaded, from disk, or compiled now.

    ``spec`` is a frozen dataclass whose ``repr`` says all that its code depends on, beside the
    generator's own source, which is part of the key.
    """
    key = cache.key(repr(spec), repr(isa), cache.generator(), str(binding.llvm_version_info))
    with _LOCK:
        if key not in _LOADED:
            name = f"{type(spec).__name__.lower()}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            _LOADED[key] = _load(_kept(key, name, isa) or _compile(spec, isa, name, key), name)
        return _LOADED[key]


def _kept(key: str, name: str, isa: Isa) -> bytes | None:
    """The kept object code of a function, or None; what is not its object file counts as absent."""
    code = cache.read(f"{key}.o")
    try:
        if code is not None:
            check_object(code, name, binding.get_object_format(), isa.arch)
    except ObjectError:
        return None
    return code


def _compile(spec: Any, isa: Isa, name: str, key: str) -> bytes:
    code = emit(spec.text(name, isa), isa)
    cache.write(f"{key}.o", code)
    return code


def _load(code: bytes, name: str) -> int:
    engine = _engine()
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found = int(engine.get_function_address(name))
    if not found:
        raise RuntimeError(f"kernel {name} is not in its object code")
    return found
