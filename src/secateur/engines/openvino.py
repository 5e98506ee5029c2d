"""OpenVINO in float32; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from secateur.engines._openvino import OpenVinoEngine


class OpenVino(OpenVinoEngine):
    """OpenVINO in float32, whatever its default on this machine is."""

    options = {"INFERENCE_PRECISION_HINT": "f32"}  # noqa: RUF012
