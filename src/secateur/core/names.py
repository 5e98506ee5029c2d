"""What a text can name, a network or data, as far as that is known without torch, which takes seconds to import."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from secateur.core import registry
from secateur.core.errors import SecateurError, unknown

OURS = "a file of secateur prune or sc.save"
DATA_FILES = (".npz", ".npy", ".safetensors", ".txt")
PICKLES = {".pt": "", ".pth": "", ".bin": "", ".ckpt": "", ".pkl": "", ".h5": "keras", ".hdf5": "keras"}
"""Endings of files that can run code when they are loaded, and what wrote them where it is not torch."""

_RUNTIMES = {".onnx": ("an ONNX", "ONNX Runtime", "onnxruntime"), ".xml": ("an OpenVINO", "OpenVINO", "openvino")}
_DATA_FORMS = ("pkg.module:name", "file.npz", "file.npy", "file.safetensors", "sentences.txt")
_STUDY_FORMS = {"models": ("pkg.module:factory",), "data": ("pkg.module:function", "file.npz")}


def check_network(text: str, also: str = "") -> None:
    """Refuse a text that names no network, where that can be known.

    A name without a colon is that of a built-in network or of one of timm; all else is a path.

    Args:
        text: what was given.
        also: what the command takes besides networks; a file may then have any ending.

    Raises:
        SecateurError: the message says what is allowed, and the nearest name.

    >>> check_network("mlp"), check_network("nets:make")
    (None, None)
    """
    path = Path(text).expanduser()
    if ":" in text or text in registry.files("models") or path.is_dir() or may_be_timms(text):
        return
    # cli.start looks for files with these endings, and names the nearest one.
    if any(text.endswith(ending) for ending in _file_endings()):
        return
    is_read = bool(also) or (path.suffix not in PICKLES and path.suffix.lower() not in _RUNTIMES)
    if not (path.is_file() and is_read):
        raise SecateurError(why_no_network(text, also))


def may_be_timms(text: str) -> bool:
    """Whether a text looks like a name of timm, and timm is installed; only timm itself knows its names."""
    return text.replace("_", "").replace(".", "").isalnum() and importlib.util.find_spec("timm") is not None


def check_data(text: str) -> None:
    """Refuse what names no data, with labels or without.

    Raises:
        SecateurError: the message says what is allowed.

    >>> check_data("digits"), check_data("inputs.npy")
    (None, None)
    """
    if Path(text).suffix not in DATA_FILES:
        _check_own("data", text, _DATA_FORMS)


def check_in_study(room: str, text: str) -> None:
    """Refuse a model or data set that a study does not take: it is neither built in nor one of the user's own.

    Raises:
        SecateurError: the message says what is allowed.

    >>> check_in_study("models", "mlp"), check_in_study("data", "samples.npz")
    (None, None)
    """
    if not text.endswith(".npz"):
        _check_own(room, text, _STUDY_FORMS[room])


def _check_own(room: str, text: str, forms: Iterable[str]) -> None:
    """Refuse what is neither an import path nor built in."""
    if ":" not in text and text not in registry.files(room):
        raise unknown(registry.ROOMS[room], text, [*registry.files(room), *forms])


def why_no_network(text: str, also: str = "") -> str:
    """The message for a text that names no network, with what is allowed."""
    path, allowed = Path(text).expanduser(), allowed_networks(also)
    if reason := _why_unreadable(text, allowed):
        return reason
    if path.suffix in PICKLES:
        how = ("in Keras: model.save('NAME.keras')" if PICKLES[path.suffix] else
               "with safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'NAME.safetensors')")
        return f"model '{text}': such a file can run code when it is loaded, so it is not read; convert it {how}"
    if path.is_dir():
        return f"model '{text}': the folder has no config.json; allowed: {allowed}"
    near = difflib.get_close_matches(text, [*registry.files("models")], n=1, cutoff=0.5)
    hint = f" did you mean '{near[0]}'?" if near else ""
    names = ", ".join(registry.files("models"))
    return f"unknown model '{text}':{hint} allowed: {allowed} (built-in: {names})"


def check_read(text: str, allowed: str = OURS) -> None:
    """Refuse a file that is written for a runtime.

    Raises:
        SecateurError: it is one.
    """
    if reason := _why_unreadable(text, allowed):
        raise SecateurError(reason)


def _why_unreadable(text: str, allowed: str) -> str:
    """Why a file that is written for a runtime is not read, and how it is timed; empty for any other file.

    >>> _why_unreadable("net.safetensors", "none"), _why_unreadable("net.onnx", "none").partition(":")[0]
    ('', "'net.onnx'")
    """
    if ":" in text or (suffix := Path(text).suffix.lower()) not in _RUNTIMES:
        return ""
    form, runtime, engine = _RUNTIMES[suffix]
    return (f"'{text}': {form} file cannot be read here; allowed: {allowed}. To time a network in {runtime}, use "
            f"secateur bench FILE.safetensors --engine {engine}, which converts it itself")


def allowed_networks(also: str = "") -> str:
    """How networks are written, and what a command takes besides."""
    return "; ".join([*[also] * bool(also), *_forms()])


def _forms() -> list[str]:
    """How each kind of network is written."""
    return [registry.constant(path, "form") for path in registry.files("loaders").values()]


def _file_endings() -> list[str]:
    """The endings of the files that networks are read from.

    >>> sorted(_file_endings())
    ['.keras', '.pt2', '.safetensors']
    """
    return [form.split()[0].removeprefix("FILE") for form in _forms() if form.startswith("FILE.")]
