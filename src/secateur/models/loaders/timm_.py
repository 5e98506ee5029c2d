"""A network of timm."""

from __future__ import annotations

import difflib
import importlib
from functools import partial
from typing import Any

from torch import nn

from secateur.core.errors import SecateurError, failing, first_line, unknown
from secateur.core.names import may_be_timms
from secateur.core.network_options import Options
from secateur.data.input_spec import InputSpec, TensorSpec
from secateur.models.factory import load_weights
from secateur.models.loaders.base import Kind, Source, refuse

_FRESH = ("the timm network has random weights, as trained ones are not downloaded: pass them with "
          "--weights FILE.safetensors")


class Timm(Kind):
    """``timm:resnet18``, or the name alone where timm is installed; with the weights of a file, or fresh ones."""

    form = "timm:NAME"

    def recognises(self, text: str) -> bool:
        """Whether it says so, or is a name that timm has."""
        return text.startswith("timm:") or (may_be_timms(text) and text in _names())

    def check(self, text: str) -> None:
        """Refuse a name that timm does not have."""
        if (name := text.removeprefix("timm:")) not in _names():
            # timm has over a thousand: only those that are most alike are named
            raise unknown("network of timm", name, difflib.get_close_matches(name, _names(), n=12, cutoff=0.5))

    def load(self, text: str, options: Options) -> Source:
        """The network, with as many outputs as the data have classes, where these are known."""
        refuse(options, f"'{text}'", "factory")
        self.check(text)
        name = text.removeprefix("timm:")
        make = partial(_network, name, options.classes, options.weights)
        sides = options.shape or tuple(_timm().get_pretrained_cfg(name.partition(".")[0]).input_size)
        classes = f", num_classes={options.classes}" if options.classes else ""
        example = InputSpec(TensorSpec((2, *sides))).random()
        return Source(make, f"lambda: timm.create_model('{name}', pretrained=False{classes})", example,
                      notes=() if options.weights else (_FRESH,), drawn=f"2 images of {' x '.join(map(str, sides))}")


def _timm() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ImportError("a network of timm needs timm, which is not installed: pip install timm") from error
    except Exception as error:
        raise SecateurError(f"timm is installed and cannot be imported: {first_line(error)}; do the versions of torch "
                            "and torchvision match?") from error


def _names() -> list[str]:
    """The networks that timm has."""
    return list(_timm().list_models())


def _network(name: str, classes: int, weights: str) -> nn.Module:
    """The network of a name, with weights where a file is given."""
    with failing(f"timm cannot make '{name}'"):
        made = _timm().create_model(name, pretrained=False, **({"num_classes": classes} if classes else {}))
    if not isinstance(made, nn.Module):
        raise SecateurError(f"timm did not return a torch.nn.Module for '{name}'")
    return (load_weights(made, weights) if weights else made).eval()
