"""Signals that come from derivatives of the loss, or of the outputs, of a whole network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.core.linalg import single
from secateur.core.modules import device_of
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.data.forward import call, watch
from secateur.pruning.signals.unfold import check_layer, groups_of, rows_in, rows_out

_MOVEMENT_LR = 1e-2
"""The step size of the one pass: small, so that the weights stay near those that are to be cut."""
_CHUNK = 1 << 26
"""Numbers of the gradients of single samples that are held at once."""
_Grads = dict[str, Tensor]


def _losses(model: nn.Module, samples: Calibration) -> Iterator[tuple[Tensor, int]]:
    """The loss of every batch, with its graph, and the number of its samples."""
    device = device_of(model)
    for batch in samples:
        loss = samples.loss(call(model, batch), batch.to(device).labels)
        if not torch.isfinite(loss):
            raise SecateurError(f"the loss of the data is {float(loss)}: criteria that use gradients need finite "
                                "values")
        yield loss, len(batch)


def _trainable_copy(model: nn.Module) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    """A copy in which every floating parameter learns, and its parameters by all their names."""
    twin = copy.deepcopy(model).eval()
    found = dict(twin.named_parameters(remove_duplicate=False))
    for parameter in found.values():
        parameter.requires_grad_(parameter.is_floating_point())
    return twin, {n: p for n, p in found.items() if p.requires_grad}


def _gradients(output: Tensor, parameters: Mapping[str, Tensor], create_graph: bool = False) -> _Grads:
    """The gradient of a number for every parameter that it depends on."""
    found = torch.autograd.grad(output, list(parameters.values()), create_graph=create_graph, allow_unused=True)
    return {name: grad for name, grad in zip(parameters, found, strict=True) if grad is not None}


def mean_gradient(model: nn.Module, samples: Calibration) -> _Grads:
    """The gradient of the mean loss, for every parameter."""
    twin, parameters = _trainable_copy(model)
    return _mean_over(twin, parameters, samples, lambda loss: _gradients(loss, parameters))


def hessian_gradient(model: nn.Module, samples: Calibration) -> _Grads:
    """The Hessian of the mean loss times its gradient, both over all samples."""
    twin, parameters = _trainable_copy(model)
    gradient = mean_gradient(model, samples)

    def product(loss: Tensor) -> _Grads:
        first = _gradients(loss, parameters, create_graph=True)
        inner = sum((single(g) * gradient[n]).sum() for n, g in first.items())
        assert isinstance(inner, Tensor)
        return _gradients(inner, parameters)

    return _mean_over(twin, parameters, samples, product)


def _mean_over(twin: nn.Module, parameters: Mapping[str, Tensor], samples: Calibration,
               found: Callable[[Tensor], _Grads]) -> _Grads:
    """The mean over all samples of what is found at the mean loss of each batch; zero where nothing is."""
    total = {n: single(torch.zeros_like(p)) for n, p in parameters.items()}
    count = 0
    for loss, size in _losses(twin, samples):
        for name, grad in found(loss).items():
            total[name] += size * single(grad)
        count += size
    return {n: t / count for n, t in total.items()}


def movement(model: nn.Module, samples: Calibration) -> _Grads:
    """The sum of gradient times weight over one pass of plain gradient descent, one step a batch."""
    twin, parameters = _trainable_copy(model)
    total = {n: single(torch.zeros_like(p)) for n, p in parameters.items()}
    for loss, _ in _losses(twin, samples):
        found = _gradients(loss, parameters)
        with torch.no_grad():
            for name, grad in found.items():
                total[name] += single(grad) * parameters[name]
                parameters[name].sub_(_MOVEMENT_LR * grad)
    return total


def flow(model: nn.Module, example: tuple[Any, ...]) -> _Grads:
    """The gradient of the sum of the outputs with all weights positive, in float64, for inputs of ones.

    Raises:
        SecateurError: an input is not a floating tensor.
    """
    if not all(isinstance(v, Tensor) and v.is_floating_point() for v in example):
        raise SecateurError("criterion 'synflow' needs float tensors as inputs, because it replaces them by ones")
    twin, parameters = _trainable_copy(model)
    twin = twin.double()
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.abs_()
    outputs = call(twin, Batch(tuple(torch.ones_like(v[:1], dtype=torch.float64) for v in example)))
    total = sum(t.sum() for t in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)))
    assert isinstance(total, Tensor)
    found = _gradients(total, parameters)
    return {name: found.get(name, torch.zeros_like(parameter)) for name, parameter in parameters.items()}


def squared_gradient(model: nn.Module, modules: Sequence[str], samples: Calibration) -> _Grads:
    """The mean over the samples of the squared gradient of each layer's weight, exact sample by sample.

    The gradient of one sample is the product of its inputs and of the gradients of its outputs, so
    that a batch gives them all; a layer that is called twice in one pass is refused.
    """
    twin, _ = _trainable_copy(model)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str) -> Callable[..., None]:
        def see(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if name in seen:
                raise UnsupportedError(f"layer '{name}' is called more than once in one pass, which mixes the squared "
                                       "gradients of its calls; skip it, or use another criterion")
            seen[name] = (inputs[0].detach(), output)
        return see

    hooks = {name: hook(name) for name in modules if check_layer(name, twin.get_submodule(name))}
    total = {name: single(torch.zeros_like(twin.get_submodule(name).weight)) for name in modules}  # type: ignore[arg-type]
    count = 0
    with watch(twin, hooks):
        for loss, size in _losses(twin, samples):
            grads = torch.autograd.grad(loss, [output for _, output in seen.values()])
            for (name, (x, _)), grad in zip(seen.items(), grads, strict=True):
                total[name] += _squared_gradients(twin.get_submodule(name), x, single(grad) * size, size)
            seen.clear()
            count += size
    return {f"{n}.weight" if n else "weight": t / count for n, t in total.items()}


def _squared_gradients(module: nn.Module, x: Tensor, grad: Tensor, samples: int) -> Tensor:
    """The sum over the samples of the squared gradient of a layer's weight."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    groups = groups_of(module)
    columns = single(rows_in(module, x))
    columns = columns.view(groups, samples, -1, columns.shape[-1])
    outputs = single(rows_out(module, grad)).view(samples, -1, groups, weight.shape[0] // groups).permute(2, 0, 3, 1)
    if columns.shape[2] == 1:
        total = outputs[..., 0].square().transpose(1, 2) @ columns[:, :, 0].square()
        return total.reshape(weight.shape)
    step = max(1, _CHUNK // weight.numel())
    parts = ((g @ c).square().sum(1) for g, c in zip(outputs.split(step, 1), columns.split(step, 1), strict=True))
    return sum(parts).reshape(weight.shape)  # type: ignore[union-attr,return-value]
