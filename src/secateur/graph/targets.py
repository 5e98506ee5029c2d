"""The tensors whose single weights can be cut, found by looking at the modules alone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from secateur.core.types import Target

_AXES = {
    nn.Linear: ("out", "in"),
    nn.Conv1d: ("out", "in", "width"),
    nn.Conv2d: ("out", "in", "height", "width"),
    nn.Conv3d: ("out", "in", "depth", "height", "width"),
    nn.ConvTranspose1d: ("in", "out", "width"),
    nn.ConvTranspose2d: ("in", "out", "height", "width"),
    nn.ConvTranspose3d: ("in", "out", "depth", "height", "width"),
}


def targets(model: nn.Module) -> tuple[Target, ...]:
    """The weights of linear, convolutional and recurrent layers and cells, each tensor once; buffers are constants.

    >>> [t.name for t in targets(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))]
    ['0.weight', '2.weight']
    >>> [t.name for t in targets(nn.GRU(4, 3))]
    ['weight_ih_l0', 'weight_hh_l0']
    """
    # Keys keep the tensors alive: a weight that a parametrization computes would give its id to the next one.
    result: dict[Tensor, Target] = {}
    for name, module in model.named_modules():
        for tensor, axes, kind in weights(module):
            if tensor in module._buffers:
                continue
            weight = getattr(module, tensor)
            path = f"{name}.{tensor}" if name else tensor
            result.setdefault(weight, Target(path, name, tuple(weight.shape), axes, kind))
    return tuple(result.values())


def weights(module: nn.Module) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """The weights that a module itself holds: name, axes and kind.

    >>> list(weights(nn.LSTMCell(4, 3)))
    [('weight_ih', ('out', 'in'), 'recurrent'), ('weight_hh', ('out', 'in'), 'recurrent')]
    """
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        yield from ((name, ("out", "in"), "recurrent") for name, _ in module.named_parameters(recurse=False)
                    if name.startswith("weight_"))
        return
    for layer, axes in _AXES.items():
        if isinstance(module, layer):
            yield "weight", axes, "linear" if len(axes) == 2 else "conv" if axes[0] == "out" else "conv-transpose"
