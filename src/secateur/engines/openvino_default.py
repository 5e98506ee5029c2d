"""OpenVINO in the precision that it takes by itself: bfloat16 on processors that have it."""

from __future__ import annotations

from secateur.engines._openvino import OpenVinoEngine

_NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


class OpenVinoDefault(OpenVinoEngine):
    """OpenVINO in its default precision, where that is not float32."""

    def refusals(self) -> list[str]:
        """Also where the default is float32."""
        reasons = super().refusals()
        if not reasons and self.precision() == "float32":
            reasons.append("OpenVINO's default on this machine is float32, which the engine openvino measures")
        return reasons

    def precision(self) -> str:
        """What OpenVINO says of this machine's processor."""
        from secateur.files.exporters.openvino_ import import_openvino

        name = import_openvino().Core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        return _NAMES.get(name, name)
