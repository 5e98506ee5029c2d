"""Errors that a caller can mend. Each is one line: what was asked, what was got, what is allowed."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from secateur.core.text import clean


class SecateurError(ValueError):
    """A mistake that the caller can correct. Its message is one line, in which control characters are escaped."""

    def __init__(self, *told: object):
        super().__init__(*(clean(one, keep="\n") if isinstance(one, str) else one for one in told))


class UnsupportedError(SecateurError):
    """A network, operator or machine that is not supported, with the reason."""


class CutGraphWarning(UserWarning):
    """A cut graph takes the place of the network's own class, or is asked for something that it cannot do."""


class OutputLayerWarning(UserWarning):
    """The output layer could not be identified, so it is cut like the others."""


class FewSamplesWarning(UserWarning):
    """Something was fitted to fewer samples than it has unknowns."""


class LeftOutWarning(UserWarning):
    """A recovery could not improve some layers, or the whole network."""


class RuinousCutWarning(UserWarning):
    """The outputs of a cut network are hardly closer to the original's than a constant would be."""


class RunError(SecateurError):
    """A run folder that cannot be read or written."""


class MissingExtraError(ImportError):
    """A package of an optional extra is not installed; the message gives the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str):
        self._given = package, extra, purpose
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'secateur[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Pickled by its arguments: a worker's error reaches the study that asked."""
        return type(self), self._given


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where the message is empty.

    >>> first_line(ValueError("too long\\nand more")), first_line(ValueError())
    ('too long', 'ValueError')
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def failing(what: str, hint: str = "") -> Iterator[None]:
    """Turns an error of foreign code in the block into one line that says what was being done.

    Errors of this package pass unchanged, and so does a lack of memory.

    >>> with failing("criterion 'mine' failed on '0.weight'"):
    ...     {}["scale"]
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: criterion 'mine' failed on '0.weight': KeyError: 'scale'
    """
    try:
        yield
    except (SecateurError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise SecateurError(f"{what}: {readable(error)}" + (f"; {hint}" if hint else "")) from error


_WORDS = {
    "neuron": "channel channels filter filters head heads unit units node nodes structured neurons",
    "weight": "unstructured connection connections parameter element fine-grained weights",
    "4x1": "blocks", "2:4": "nm n:m semi-structured semistructured",
    "sparsity": "amount ratio rate fraction percent pruning-ratio pruning-rate prune-ratio target-sparsity",
    "min_sparsity": "least", "max_sparsity": "most",
    "criterion": "method importance saliency score metric", "recovery": "retrain", "finetune": "fine-tune retraining",
    "magnitude": "abs absolute l1-unstructured weight-magnitude", "l2": "l2norm l2-norm ln-structured",
    "l1": "l1norm l1-norm norm", "bn-scale": "slimming network-slimming bn", "fpgm": "geometric-median",
    "obd": "hessian fisher", "obs": "obc optimal-brain-surgeon", "apoz": "zeros",
    "layer": "local layerwise layer-wise uniform", "global": "network-wide",
    "model": "network net arch architecture", "data": "dataset", "weights": "checkpoint ckpt state-dict pretrained",
    "out": "output save save-to", "force": "overwrite", "jobs": "workers n-jobs num-workers", "to": "format",
    "seeds": "repeats", "fashion-mnist": "fmnist fashion", "openvino": "ov", "onnxruntime": "ort onnx-runtime"}
SYNONYMS = {word: ours for ours, words in _WORDS.items() for word in words.split()}
"""Words of other tools, and earlier ones of ours, which no spelling is near to."""


def unknown(kind: str, asked: str, allowed: Iterable[str], besides: Iterable[str] = ()) -> SecateurError:
    """The error for an unknown name, with the nearest known one; names ``besides`` the allowed are taken, not listed.

    >>> str(unknown("criterion", "magnitud", ["magnitude", "random"]))
    "unknown criterion 'magnitud': did you mean 'magnitude'? allowed: magnitude, random"
    """
    known = sorted(allowed)
    word = SYNONYMS.get(asked, "")
    near = [word] if word in known else difflib.get_close_matches(asked, [*known, *besides], n=1, cutoff=0.5)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return SecateurError(f"unknown {kind} '{asked}':{hint} allowed: {', '.join(known) or 'none'}")


def caller_level() -> int:
    """The ``stacklevel`` of a warning that points at the first line outside of this package.

    Python 3.12 has ``skip_file_prefixes`` for that.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "secateur":
        level, frame = level + 1, frame.f_back
    return level


class MeasurementError(RuntimeError):
    """A measured value that is wrong, and so must not be reported."""


def readable(error: BaseException) -> str:
    """The class of an error and the first line of its message, where it has one.

    >>> readable(ValueError("too long\\nand more")), readable(ValueError())
    ('ValueError: too long', 'ValueError')
    """
    name, line = type(error).__name__, first_line(error)[:300]
    return name if line == name else f"{name}: {line}"
