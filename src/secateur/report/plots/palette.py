"""The colours by role, light and dark. Red and blue differ in lightness too, so that they hold for the colour-blind."""

from __future__ import annotations

LIGHT = {
    "weight": "#c8321f", "weight-2": "#e58a4a", "weight-3": "#8c1c4b", "weight-4": "#b5651d",
    "neuron": "#1464b4", "neuron-2": "#35a0c9", "neuron-3": "#413c99", "neuron-4": "#0d7c86",
    "other": "#6a7a1f", "other-2": "#8d6bb0", "other-3": "#94761b", "other-4": "#4f7a5b",
    "ink": "#1d2126", "soft": "#5c6570", "line": "#dcdfe3", "paper": "#ffffff", "page": "#f6f6f3",
    "front": "#1d2126",
}
DARK = {
    "weight": "#ff7b66", "weight-2": "#ffb27a", "weight-3": "#f58ab8", "weight-4": "#e0a066",
    "neuron": "#62b0ff", "neuron-2": "#7fdcf5", "neuron-3": "#a9a5ff", "neuron-4": "#5cc8c8",
    "other": "#c3d36a", "other-2": "#c9aae6", "other-3": "#dcc06a", "other-4": "#93c7a2",
    "ink": "#e9ecef", "soft": "#a4adb7", "line": "#333a42", "paper": "#1a1e23", "page": "#121519",
    "front": "#e9ecef",
}
TONES = 4
"""Colours of a granularity; further methods take the same ones again, their lines dotted."""
_SYMBOLS = {"weight": ("circle", "star"), "neuron": ("square", "diamond"), "other": ("diamond", "star")}


def role(granularity: str, tone: int = 0) -> str:
    """The colour role of a granularity; further methods of the same granularity take further tones.

    >>> role("weight"), role("neuron", 1), role("block", 5)
    ('weight', 'neuron-2', 'other-2')
    """
    base = granularity if granularity in ("weight", "neuron") else "other"
    return base if tone % TONES == 0 else f"{base}-{tone % TONES + 1}"


def symbol(granularity: str, recovery: bool = False) -> str:
    """The marker of a granularity, cut plainly or with a recovery, so that colour is never the only difference."""
    return _SYMBOLS.get(granularity, _SYMBOLS["other"])[recovery]
