"""Batch norms that follow a layer become part of its weight and bias."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from secateur.core.tensors import tensors_in
from secateur.data.batch import Batch
from secateur.data.forward import call, watch
from secateur.quantization.replace import replace_layers

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_CLOSE = 1e-4
"""Of the outputs' greatest value: what folding may move them, by the rounding of float32."""


def fold_norms(model: nn.Module, batch: Batch) -> list[str]:
    """Fold batch norms into the layers before them, in place; gives the names of those that are gone.

    A pair is one whose norm reads what the layer gave. Whether something else reads that too is seen by running: where
    the network then gives other outputs for the batch, that pair stays.
    """
    folded = list[str]()
    before = _outputs(model, batch)
    for layer, norm in _pairs(model, batch):
        old = {layer: model.get_submodule(layer), norm: model.get_submodule(norm)}
        replace_layers(model, {layer: _fused(old[layer], old[norm]), norm: nn.Identity()})
        if _close(before, _outputs(model, batch)):
            folded.append(norm)
        else:
            replace_layers(model, old)
    return folded


def _pairs(model: nn.Module, batch: Batch) -> list[tuple[str, str]]:
    """Layers and the norms that read their outputs, each of them called once."""
    gave, calls, pairs = dict[int, tuple[str, Tensor]](), dict[str, int](), list[tuple[str, str]]()

    def see(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, _NORMS):
                maker = gave.get(id(inputs[0]))
                # an id may be that of a new tensor whose predecessor is gone
                if maker and maker[1] is inputs[0]:
                    pairs.append((maker[0], name))
            elif isinstance(output, Tensor):
                gave[id(output)] = (name, output)
        return hook

    names = [name for name, m in model.named_modules() if _foldable(m)]
    with watch(model, {name: see(name) for name in names}), torch.no_grad():
        call(model, batch)
    return [(layer, norm) for layer, norm in pairs if calls[layer] == calls[norm] == 1]


def _foldable(module: nn.Module) -> bool:
    plain = {nn.Linear, nn.Conv1d, nn.Conv2d}
    return (type(module) in plain and "weight" in module._parameters) or (
        type(module) in _NORMS and bool(module.track_running_stats))


def _fused(layer: Any, norm: Any) -> nn.Module:
    fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    modes = layer.training, norm.training
    try:
        return fuse(layer.eval(), norm.eval()).train(modes[0])  # type: ignore[operator,no-any-return]
    finally:
        layer.train(modes[0])
        norm.train(modes[1])


def _outputs(model: nn.Module, batch: Batch) -> list[Tensor]:
    with watch(model, {}), torch.no_grad():
        return [one.clone() for one in tensors_in(call(model, batch))]


def _close(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(float((a - b).abs().max()) <= _CLOSE * max(float(a.abs().max()), 1e-30)
               for a, b in zip(one, other, strict=True) if a.is_floating_point() and a.numel())
