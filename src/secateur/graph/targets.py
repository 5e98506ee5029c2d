"""The tensors whose single weights can be cut, found by looking at the modules alone."""

from __future__ import annotations

from torch import nn

from secateur.types import Target

AXES = {
    nn.Linear: ("out", "in"),
    nn.Conv1d: ("out", "in", "width"),
    nn.Conv2d: ("out", "in", "height", "width"),
    nn.Conv3d: ("out", "in", "depth", "height", "width"),
    nn.ConvTranspose1d: ("in", "out", "width"),
    nn.ConvTranspose2d: ("in", "out", "height", "width"),
    nn.ConvTranspose3d: ("in", "out", "depth", "height", "width"),
}


def targets(model: nn.Module) -> tuple[Target, ...]:
    """The weights of linear and convolutional layers, each tensor once.

    >>> [t.name for t in targets(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))]
    ['0.weight', '2.weight']
    """
    found, seen = [], set[int]()
    for name, module in model.named_modules():
        axes = next((a for kind, a in AXES.items() if isinstance(module, kind)), None)
        if axes is None or id(module.weight) in seen:
            continue
        seen.add(id(module.weight))
        path = f"{name}.weight" if name else "weight"
        kind = "linear" if len(axes) == 2 else "conv" if axes[0] == "out" else "conv-transpose"
        found.append(Target(path, name, tuple(module.weight.shape), axes, kind))
    return tuple(found)
