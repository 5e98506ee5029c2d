"""Any network a user already has: one file a kind, see ``base.py`` for the contract."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch import nn

from secateur import registry
from secateur.errors import SecateurError
from secateur.sources.base import Kind, Options, Source

__all__ = ["Kind", "Options", "Source", "check_read", "find", "kind_of", "kinds", "network", "unread", "why_not"]

RUNTIMES = {".onnx": ("an ONNX", "ONNX Runtime", "onnxruntime"), ".xml": ("an OpenVINO", "OpenVINO", "openvino")}
PICKLES = {".pt": "", ".pth": "", ".bin": "", ".ckpt": "", ".pkl": "", ".h5": "keras", ".hdf5": "keras"}


def kinds() -> list[Kind]:
    """Every kind of network."""
    return [registry.get("sources", name)() for name in registry.files("sources")]


def kind_of(text: str) -> Kind:
    """The kind of network that a text names.

    Raises:
        SecateurError: none; the message has what is allowed, and the nearest name.

    >>> kind_of("mlp").form, kind_of("net.pt2").form
    ('a built-in name', 'FILE.pt2')
    """
    found = next((kind for kind in kinds() if kind.recognises(text)), None)
    if found is None:
        raise SecateurError(why_not(text))
    return found


def find(text: str, options: Options | None = None) -> Source:
    """The network that a text names.

    Raises:
        SecateurError: nothing is named so, or it cannot be read.
        ImportError: a package that reads it is not installed.
    """
    return kind_of(text).load(text, options or Options())


def network(text: str, **options: str) -> nn.Module:
    """The network that a text names, as ``secateur prune`` takes it: what ``secateur.load`` needs for its files.

    Args:
        text: any of the kinds that ``secateur list`` shows.
        options: fields of :class:`Options`, such as ``factory="pkg.module:make"``.

    Raises:
        SecateurError: nothing is named so, or it cannot be read.

    >>> type(network("lenet-300-100")).__name__
    'Lenet300100'
    """
    return find(text, Options(**options)).make()  # type: ignore[arg-type]


def why_not(text: str) -> str:
    """Why a text names no network, and what is allowed."""
    path, allowed = Path(text).expanduser(), "; ".join(kind.form for kind in kinds())
    if told := unread(text, allowed):
        return told
    if path.suffix in PICKLES:
        how = ("in Keras: model.save('NAME.keras')" if PICKLES[path.suffix] else
               "with safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'NAME.safetensors')")
        return f"model '{text}': such a file can run code when it is read, and is not read; convert it {how}"
    if path.is_dir():
        return f"model '{text}': the folder has no config.json; allowed: {allowed}"
    near = difflib.get_close_matches(text, [*registry.files("models")], n=1, cutoff=0.5)
    hint = f" did you mean '{near[0]}'?" if near else ""
    names = ", ".join(registry.files("models"))
    return f"unknown model '{text}':{hint} allowed: {allowed} (built-in: {names})"


def unread(text: str, allowed: str = "a file of secateur prune or sc.save") -> str:
    """Why a file that is written for a runtime is not read, what can be, and how to time it; empty for any other.

    >>> unread("net.safetensors"), unread("net.onnx").partition(":")[0]
    ('', "'net.onnx'")
    """
    if ":" in text or (suffix := Path(text).suffix.lower()) not in RUNTIMES:
        return ""
    form, runtime, engine = RUNTIMES[suffix]
    return (f"'{text}': {form} file is for its runtime alone and is not read; allowed: {allowed}. To time a network in "
            f"{runtime}: secateur bench FILE.safetensors --engines {engine}, which converts it itself")


def check_read(text: str, allowed: str = "a file of secateur prune or sc.save") -> None:
    """Refuse a file that is written for a runtime.

    Raises:
        SecateurError: it is one.
    """
    if told := unread(text, allowed):
        raise SecateurError(told)
