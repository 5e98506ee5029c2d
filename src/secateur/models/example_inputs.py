"""Inputs to run a network on, where no samples are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.core.pytree import repeat
from secateur.data.input_spec import InputSpec, TensorSpec
from secateur.files.native.program import FileNetwork
from secateur.graph.example import has_words
from secateur.models.builtin.base import Network
from secateur.models.factory import example_of
from secateur.models.loaders.base import Source
from secateur.pruning.history import steps

_WORD = "network "


def example_for(network: nn.Module, source: Source, options: Options, what: str) -> Any:
    """Inputs to run a network on, in this order: those that were asked for; random ones of the shape that was asked
    for; those that its source knows; random ones like those that it was saved with, made for, or cut with.

    For a network of sentences the shape is the number of tokens.

    Raises:
        SecateurError: nothing says what ``what`` takes.
    """
    if options.example:
        return example_of(options.example)
    known = source.example if source.example is not None else example_from(network)
    if options.shape:
        if source.encode:
            return _tokens(source, options.shape)
        return _stretch(known, options.shape) if has_words(known) else _random_samples(options.shape)
    if known is None:
        raise SecateurError(f"the inputs of '{what}' are not known: give --shape 3,32,32 for random inputs, or "
                            "--example pkg.module:name for a tensor, a tuple or a dict of your own")
    return known


def example_from(network: nn.Module) -> Any:
    """Random inputs like those that a network was saved with, is made for, or was cut with; None where it does not
    say."""
    if isinstance(network, FileNetwork) and (like := network.example()) is not None:
        return like
    if isinstance(network, (Network, FileNetwork)) and network.shape:
        return _random_samples(network.shape)
    cuts = steps(network)
    return InputSpec.from_json(cuts[-1].example).random() if cuts and cuts[-1].example else None


def _random_samples(shape: tuple[int, ...]) -> Any:
    """Two random samples of a shape."""
    return InputSpec(TensorSpec((2, *shape))).random()


def _tokens(source: Source, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Two sentences of so many tokens."""
    assert source.encode is not None
    length = shape[0]
    found = {name: x[:, :length] for name, x in source.encode([_WORD * length] * 2).items()}
    if len(shape) > 1 or any(x.shape[1] < length for x in found.values()):
        longest = min(x.shape[1] for x in found.values())
        raise SecateurError(f"--shape {','.join(map(str, shape))} for a text model: allowed is one number, the "
                            f"tokens per sentence, at most {longest}")
    return found


def _stretch(example: Any, shape: tuple[int, ...]) -> Any:
    """An example with rows of another length, filled with its own values over and over."""
    if len(shape) > 1:
        raise SecateurError(f"--shape {','.join(map(str, shape))} for a network of tokens: allowed is one number, "
                            "the tokens per sample")
    return repeat(example, shape[0], axis=1)


def tensors_and_names(example: Any, what: str) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """The tensors of inputs in their order, and their names where they are given by name.

    Raises:
        SecateurError: an input is no tensor with samples along the first axis.

    >>> tensors_and_names({"x": Tensor(2, 3)}, "net")[1]
    ('x',)
    """
    names = tuple(map(str, example)) if isinstance(example, Mapping) else ()
    values = tuple(example.values()) if isinstance(example, Mapping) else (
        tuple(example) if isinstance(example, (tuple, list)) else (example,))
    if not values or not all(isinstance(x, Tensor) and x.ndim for x in values):
        raise SecateurError(f"the inputs of '{what}': allowed is a tensor, or a tuple or dict of tensors, with samples "
                            "along the first axis")
    return values, names
