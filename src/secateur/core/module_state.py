"""Running a network without leaving a trace: tensors, attributes, modes and random numbers are put back."""

from __future__ import annotations

import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

_OPAQUE = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)


class _State:
    """Everything that running a network may change, as it is now.

    Attributes of every module are followed into lists, dicts, sets, arrays and objects. Parameters are not copied,
    which would double the memory: an assignment to their ``data`` is undone, a write into their memory is not. The
    exception are the weights of embeddings with a ``max_norm``, which a forward pass rescales in place.
    """

    def __init__(self, model: nn.Module):
        self._undo: list[Callable[[], object]] = []
        self._seen: dict[int, Any] = {}
        todo: list[Any] = [model]
        while todo:
            value = todo.pop()
            if id(value) not in self._seen:
                self._seen[id(value)] = value
                todo += self._hold(value)

    def restore(self) -> None:
        """Write back everything that differs."""
        for undo in self._undo:
            undo()

    def detach(self) -> None:
        """Detach attributes from the gradient graph of an earlier call: torch does not copy tensors that have one."""
        for value in self._seen.values():
            pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, tensor in list(pairs):
                if isinstance(tensor, Tensor) and not tensor.is_leaf:
                    value[key] = tensor.detach()

    def _hold(self, value: Any) -> list[Any]:
        """Remember one value as it is; returns the values in it."""
        if isinstance(value, Tensor):
            self._hold_tensor(value, not isinstance(value, nn.Parameter))
            return []
        if isinstance(value, dict):
            self._undo.append(_restore_dict(value))
            return list(value.values())
        if isinstance(value, (list, deque, set)):
            self._undo.append(_restore_list(value))
            return list(value)
        if isinstance(value, (tuple, frozenset)):
            return list(value)
        if undo := _restore_random(value):
            self._undo.append(undo)
            return []
        if isinstance(value, (nn.Embedding, nn.EmbeddingBag)) and value.max_norm is not None:
            self._hold_tensor(value.weight, True)
        return [] if isinstance(value, _OPAQUE) else [vars(value)] if isinstance(
            getattr(value, "__dict__", None), dict) else []

    def _hold_tensor(self, tensor: Tensor, values: bool) -> None:
        lazy = isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer))
        if lazy or tensor.is_meta or isinstance(tensor, FakeTensor) or tensor.layout != torch.strided:
            return
        held, seen = tensor.data, tensor.data.clone() if values else None

        def undo() -> None:
            if tensor.data_ptr() != held.data_ptr() or tensor.shape != held.shape or tensor.dtype != held.dtype:
                tensor.data = held
            if seen is not None and not torch.equal(held, seen):
                held.copy_(seen)

        self._undo.append(undo)


def _restore_dict(value: dict[Any, Any]) -> Callable[[], None]:
    """What puts the entries of a dict back, in their order."""
    held = list(value.items())

    def undo() -> None:
        if len(held) != len(value) or any(a is not k or b is not v for (a, b), (k, v) in
                                          zip(held, value.items(), strict=True)):
            value.clear()
            value.update(held)

    return undo


def _restore_list(value: list[Any] | deque[Any] | set[Any]) -> Callable[[], None]:
    """What puts the entries of a list, deque or set back."""
    held = list(value)

    def undo() -> None:
        if len(held) != len(value) or any(a is not b for a, b in zip(held, value, strict=True)):
            value.clear()
            value.update(held) if isinstance(value, set) else value.extend(held)

    return undo


def _restore_random(value: Any) -> Callable[[], object] | None:
    """What puts an array, or a generator of random numbers, back; None for anything else."""
    if isinstance(value, np.ndarray):
        values = value.copy()
        return lambda: np.copyto(value, values)
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, random.Random):
        drawn = value.getstate()
        return lambda: value.setstate(drawn)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        held = bits.state
        return lambda: setattr(bits, "state", held)
    return None


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """After the block the generators of Python, NumPy and torch go on as if it had drawn nothing."""
    state, numbers, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numbers)
        torch.set_rng_state(cpu)
        torch.cuda.set_rng_state_all(cards)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """After the block a network and the random numbers are as they were before it; within it, it can be copied."""
    state = _State(model)
    with same_random_numbers():
        try:
            state.detach()
            yield
        finally:
            state.restore()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block, and no cache of keys and values; after it the network is as it was, see
    :func:`untouched`.
    """
    with untouched(model), without_cache(model):
        model.eval()
        yield


_OFF: list[Any] = []
"""The configurations whose cache is off at the moment, and is on outside of the block."""


def cache_configs(model: nn.Module) -> dict[str, Any]:
    """The configurations that switch a cache of keys and values on (``use_cache``, as decoders of Hugging Face have
    it), by the names of their modules; also within :func:`without_cache`.
    """
    configs = {name: getattr(module, "config", None) for name, module in model.named_modules()}
    return {name: config for name, config in configs.items()
            if getattr(config, "use_cache", None) is True or any(config is one for one in _OFF)}


@contextmanager
def without_cache(model: nn.Module) -> Iterator[None]:
    """Within the block a decoder returns no cache: an output of a class of its own, which no graph can hold."""
    configs = list({id(config): config for config in cache_configs(model).values() if config.use_cache}.values())
    _OFF.extend(configs)
    try:
        for config in configs:
            config.use_cache = False
        yield
    finally:
        for config in configs:
            config.use_cache = True
            del _OFF[next(at for at, one in enumerate(_OFF) if one is config)]
