"""ONNX, by torch's exporter of programs; checked with ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError, UnsupportedError, first_line
from secateur.core.processor import overflows_int8
from secateur.files.exporters import _int8, _int8_file, _qdq
from secateur.files.exporters._program import Subject, Traced
from secateur.files.exporters.base import Exporter, Int8, Run
from secateur.graph.capture import quiet

TOO_LARGE = 1_900_000_000
"""Bytes of tensors from which these get a file of their own: a protobuf file ends at 2 GiB."""
_PROCESSORS = {False: "exact and fast on x86 with VNNI and on ARM; on x86 without VNNI its sums may overflow, so give "
                      "int8='narrow' (--narrow) for a file that is to run there",
               True: "weights of seven bits, so that sums overflow on no processor; on x86 with VNNI and on ARM eight "
                     "bits are more exact"}
_OWN = "own"
"""The ranges of a network that was in int8 before."""
_OWN_PROCESSORS = ("exact on x86 with VNNI and on ARM; on x86 without VNNI sums may overflow, so set "
                   "session.x64quantprecision to 1 in ONNX Runtime's session options there")
_FEWEST = 16
"""Samples from which the ranges of a network's values are taken to be known."""


class Onnx(Exporter):
    """An ONNX file. Its open axes are named batch and length; it holds no lines of the network's source."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"
    options = frozenset({"int8"})

    def write(self, subject: Subject, path: Path, int8: Int8 = False) -> None:
        """Write the program as ONNX operators; tensors of more than 1.9 GB go to ``NAME.onnx.data`` beside it.

        In int8, a network of convolutions gets the ranges that the example has, any other those of each call.
        """
        if not int8:
            return self._write_float(subject, path)
        with TemporaryDirectory(prefix="secateur-onnx-") as folder:
            whole = Path(folder) / path.name
            self._write_float(subject, whole)
            narrow = True if int8 == "narrow" else None
            if not _int8_file.count_convolutions(whole):
                return _int8.quantize_dynamic(whole, path, narrow)
            _check_samples(subject)
            return _int8.quantize_static(whole, path, subject.inputs, narrow)

    def _write_float(self, subject: Subject, path: Path) -> None:
        """Write the program in its own type."""
        _qdq.check_static(subject.model, "onnx")
        trace = subject.traced
        try:
            with quiet():
                made = torch.onnx.export(trace.program, dynamo=True, verbose=False, output_names=trace.output_names,
                                         custom_translation_table=_qdq.translations())
        except Exception as error:
            raise UnsupportedError(f"torch's ONNX exporter cannot take {subject.original}: {_first_cause(error)}"
                                   ) from error
        assert made is not None
        _qdq.fold_constants(made.model)
        _name_axes(made.model, trace)
        large = sum(t.numel() * t.element_size() for t in trace.program.state_dict.values()) > TOO_LARGE
        with quiet():
            made.save(str(path), external_data=large)
        if subject.quantised:
            _int8_file.sign(path, _OWN, narrow=False)

    def open(self, path: Path, subject: Subject) -> Run:
        """A session of ONNX Runtime; sums of a network's int8 layers do not overflow in it."""
        session = session_of(path, exact=subject.quantised and overflows_int8())
        names = [i.name for i in session.get_inputs()]

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            given = dict(zip(subject.traced.names, inputs, strict=True))
            return [torch.from_numpy(y) for y in session.run(None, {n: given[n].numpy() for n in names})]

        return run

    def suits(self, path: Path) -> str:
        """Of a file in int8: how it rounds, what of it computes in float32, which processors it is for."""
        if (found := _int8_file.signature(path)) is None:
            return ""
        ranges, narrow = found
        if ranges == _OWN:
            return f"int8, scales, zero points and biases of the network itself: {_OWN_PROCESSORS}"
        held = ", ".join(f"{count} {kind}" for kind, count in _int8_file.kept_in_float(path).items())
        rest = f"; {held} in float32" if held else ""
        return f"int8, {ranges} ranges, signed weights with a scale per channel{rest}: {_PROCESSORS[narrow]}"

    def runtime(self) -> str:
        """ONNX Runtime with its version."""
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"


def _check_samples(subject: Subject) -> None:
    """Refuse to take the ranges of a network of convolutions from too few samples."""
    if (count := len(subject.inputs[0])) < _FEWEST:
        raise SecateurError(f"int8 of a network of convolutions takes the ranges of its values from the example, which "
                            f"has {count} samples; allowed are {_FEWEST} or more real ones: give them as example= "
                            "(--example pkg.module:name)")


def session_of(path: Path, exact: bool = False) -> Any:
    """A session of ONNX Runtime on the CPU, with as many threads as torch has, that prints nothing.

    Args:
        path: the file.
        exact: whether sums of int8 products have to be exact on processors where they overflow, which takes more time.

    Raises:
        UnsupportedError: it cannot run the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UnsupportedError(f"ONNX Runtime cannot run '{path.name}': {first_line(error)}") from error


def _name_axes(model: Any, trace: Traced) -> None:
    """Name the open axes, and drop what the file says of the machine and the source code it comes from."""
    import onnx_ir

    values = [*model.graph.inputs, *model.graph.outputs]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        for axis, size in enumerate(value.shape or ()):
            if isinstance(size, onnx_ir.SymbolicDim) and size.value is not None:
                value.shape[axis] = onnx_ir.SymbolicDim(_axis_name(str(size.value), trace.symbols))


def _axis_name(size: str, symbols: dict[str, str]) -> str:
    """An open size with names such as batch in place of torch's symbols.

    >>> _axis_name("4*s77", {"s77": "batch"})
    '4*batch'
    """
    return re.sub(r"\w+", lambda word: symbols.get(word[0], word[0]), size)


def _first_cause(error: BaseException) -> str:
    """The class and the first line of the error that started a chain of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"
