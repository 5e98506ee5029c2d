"""The colours by role, light and dark: each 3 : 1 or more against what it is drawn on, and the first two of weights and
of neurons far apart for the colour-blind too. ``edge`` bounds what can be clicked, ``line`` only decorates."""

from __future__ import annotations

LIGHT = {
    "weight": "#b3201a", "weight-2": "#d9650b", "weight-3": "#7a1142", "weight-4": "#a06a00",
    "neuron": "#0f4fa8", "neuron-2": "#2f8fd0", "neuron-3": "#3b2a8c", "neuron-4": "#0b7f80",
    "other": "#6a7a1f", "other-2": "#8d6bb0", "other-3": "#94761b", "other-4": "#4f7a5b",
    "ink": "#1d2126", "soft": "#5c6570", "line": "#dcdfe3", "paper": "#ffffff", "page": "#f6f6f3",
    "front": "#1d2126", "edge": "#868e98",
}
DARK = {
    "weight": "#ff6a52", "weight-2": "#ffd08a", "weight-3": "#f58ab8", "weight-4": "#d08a40",
    "neuron": "#5a9dff", "neuron-2": "#8fe3ff", "neuron-3": "#a9a5ff", "neuron-4": "#4fbdb0",
    "other": "#c3d36a", "other-2": "#c9aae6", "other-3": "#dcc06a", "other-4": "#93c7a2",
    "ink": "#e9ecef", "soft": "#a4adb7", "line": "#333a42", "paper": "#1a1e23", "page": "#121519",
    "front": "#e9ecef", "edge": "#6f7882",
}
TONES = 4
"""Colours of a granularity; further methods take the same ones again, their lines dotted."""
UNCUT_SYMBOLS = {32: "cross", 16: "triangle", 8: "triangle-down"}
"""The markers of the uncut network, by the bits in which it computes."""
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
