"""Sets what modules remember of their shape after a cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Shape = Callable[[Any], dict[str, Any]]

KNOWN: list[tuple[type[nn.Module], Shape]] = [
    (nn.Linear, lambda m: {"out_features": m.weight.shape[0], "in_features": m.weight.shape[1]}),
    (nn.modules.conv._ConvTransposeNd,
     lambda m: {"in_channels": m.weight.shape[0], "out_channels": m.weight.shape[1] * m.groups}),
    (nn.modules.conv._ConvNd,
     lambda m: {"out_channels": m.weight.shape[0], "in_channels": m.weight.shape[1] * m.groups}),
    (nn.Embedding, lambda m: {"num_embeddings": m.weight.shape[0], "embedding_dim": m.weight.shape[1]}),
]


def depthwise(module: nn.modules.conv._ConvNd) -> int:
    """The groups of a convolution after a cut: those of a depthwise one follow its channels."""
    if module.groups > 1 and module.in_channels == module.groups:
        return int(module.weight.shape[0] // (module.out_channels // module.groups))
    return module.groups


def repair_known(model: nn.Module) -> None:
    """Set the attributes of modules whose meaning is known, from the shapes of their tensors."""
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            module.groups = depthwise(module)
        for kind, shape in KNOWN:
            if isinstance(module, kind):
                for name, value in shape(module).items():
                    setattr(module, name, value)
                break
        if isinstance(module, nn.modules.batchnorm._NormBase):
            first = module.weight if module.weight is not None else module.running_mean
            if first is not None:
                module.num_features = first.shape[0]
        if isinstance(module, nn.LayerNorm) and module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
