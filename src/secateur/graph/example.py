"""The example input that a network is traced with, checked before it is used."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, readable
from secateur.core.module_state import evaluating, same_random_numbers, untouched
from secateur.core.tensors import dtype_name, tensors_in


def inputs(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword inputs that an example stands for: one input, a tuple of them, or a dict.

    Of a list of examples, the first one's.

    >>> inputs(torch.zeros(2))[0][0].shape
    torch.Size([2])
    """
    if isinstance(example, list):
        return inputs(examples(example)[0])
    if isinstance(example, dict):
        return (), dict(example)
    return (example, {}) if isinstance(example, tuple) else ((example,), {})


def examples(example: Any) -> list[Any]:
    """The examples that a list holds, or the only one.

    Raises:
        SecateurError: the list is empty.
    """
    if isinstance(example, list) and not example:
        raise SecateurError("the list of examples is empty: give one input, a tuple of inputs, a dict of keyword "
                            "inputs, or a list of such examples")
    return example if isinstance(example, list) else [example]


def has_words(example: Any) -> bool:
    """Whether an example has whole numbers in rows, such as tokens, which may be of any length."""
    return any(isinstance(v, Tensor) and v.ndim > 1 and not v.is_floating_point() for v in pytree.tree_leaves(example))


def double_batch(example: Any) -> Any:
    """An example of twice the batch: every tensor after itself."""
    return pytree.tree_map(lambda v: torch.cat([v, v]) if isinstance(v, Tensor) and v.ndim else v, example)


def check_values(example: Any) -> None:
    """Refuse an example that proves nothing.

    Raises:
        SecateurError: it is empty, or holds NaN or infinite values.
    """
    for value in pytree.tree_leaves(inputs(example)):
        if isinstance(value, Tensor) and not value.is_meta:
            if not value.numel():
                raise SecateurError(f"the example holds an empty tensor, {describe(value)}, so it cannot verify a cut")
            if value.is_floating_point() and value.isnan().any():
                raise SecateurError(f"the example holds NaN in {describe(value)}, so it cannot verify a cut")


def check_example(model: nn.Module, example: Any) -> None:
    """Refuse an example that holds nothing to run a network on, or does not run on it.

    Raises:
        SecateurError: it is missing, empty, of NaN, or of another shape, device or type.
    """
    if example is None:
        raise SecateurError("the example is None: give one input, a tuple of inputs, or a dict of keyword inputs")
    check_values(example)
    for one in examples(example):
        check_runs(model, *inputs(one))


def check_runs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run the example once, so that a mistake in it is reported in the model's own words."""
    try:
        with untouched(model), torch.no_grad():
            before = [name for name, _ in model.named_parameters()]
            model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
            fresh = [name for name, _ in model.named_parameters() if name not in before]
    except Exception as error:
        got = ", ".join(describe(a) for a in [*args, *kwargs.values()])
        raise SecateurError(f"the example does not run on {type(model).__name__}: {readable(error)}; "
                            f"got {got or 'no inputs'}{_mismatch(model, [*args, *kwargs.values()])}") from error
    if fresh:
        raise SecateurError(f"{type(model).__name__} creates its parameter '{fresh[0]}' in its first call: run it "
                            "once before pruning")


def changes_by_call(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a network gives other outputs for the same inputs and random numbers from its second call to its third.

    The first may differ: some code makes a table then. The network is left as it was.

    >>> changes_by_call(nn.Linear(2, 1), (torch.ones(1, 2),), {})
    False
    """
    calls = []
    with evaluating(model), torch.no_grad():
        for _ in range(3):
            with same_random_numbers():
                found = tensors_in(model(*copy.deepcopy(args), **copy.deepcopy(kwargs)))
            # An output may be a buffer that the next call writes into.
            calls.append([tensor.nan_to_num() for tensor in found])
    _, second, third = calls
    return len(second) != len(third) or not all(map(torch.equal, second, third))


def describe(value: Any) -> str:
    """A short word for one input."""
    return f"{dtype_name(value.dtype)} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _mismatch(model: nn.Module, inputs: list[Any]) -> str:
    """What differs between the network's device or dtype and the example's, as a clause."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    tensor = next((a for a in inputs if isinstance(a, Tensor) and a.is_floating_point()), None)
    if weight is None or tensor is None or (weight.device, weight.dtype) == (tensor.device, tensor.dtype):
        return ""
    return f"; the network holds {weight.dtype} on {weight.device}, the example {tensor.dtype} on {tensor.device}"
