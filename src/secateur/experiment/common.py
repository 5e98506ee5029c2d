"""What a study and the cut of one network both have: their settings of the cut, the training and the timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.core.bounds import check_round_to
from secateur.core.choices import POOLINGS, RUNTIME_ENGINES
from secateur.core.settings import CUT, NETWORK, RECOVERY, RUN, TIMING, TRAINING, Settings, setting
from secateur.experiment.checks import check_device, check_layers, check_name_of_device, read_layers

if TYPE_CHECKING:
    from secateur.runtime.timing import Timing


@dataclass(frozen=True, kw_only=True)
class CommonConfig(Settings):
    """What a study and the cut of one network both have."""

    weights: str = setting("", "trained weights (.safetensors); if given, training is skipped", group=NETWORK)
    skip: tuple[str, ...] | None = setting(None, "modules to leave uncut besides the output layer, as names or "
                                           "regular expressions; empty ('') also cuts the output layer", group=CUT)
    layers: str = setting("", "settings for single layers as JSON: names or regular expressions, each with a "
                          "sparsity or any of sparsity, granularity, min_sparsity, max_sparsity, "
                          "skip", group=CUT, json=True,
                          form=read_layers, check=check_layers)
    min_sparsity: float = setting(0.0, "minimum fraction to prune in every layer", group=CUT, aliases=("least",))
    max_sparsity: float = setting(1.0, "maximum fraction to prune in every layer", group=CUT, aliases=("most",))
    pooling: str = setting("mean", "how the scores within one block or neuron are "
                                   "combined", group=CUT, allowed=POOLINGS)
    round_to: int = setting(1, "keep a multiple of this many neurons or channels", group=CUT, form=check_round_to)
    calibration: int = setting(8192, "number of training samples for criteria and recoveries; labels are used only if "
                                     "needed",
                               group=RECOVERY, least=1)
    distil_steps: int = setting(0, "steps that recoveries best and distil train at most, towards the original's "
                                   "outputs; 0: what the sizes of network and data suggest", group=RECOVERY, least=0)
    batch_size: int = setting(64, "training batch size", group=TRAINING, least=1)
    lr: float = setting(1e-3, "learning rate of the optimizer Adam", group=TRAINING, above=0)
    latency_batches: tuple[int, ...] = setting((1, 64, 1024), "batch sizes to time; empty (''): no timing",
                                               group=TIMING, shown="batch", least=1)
    latency_seconds: float = setting(0.25, "seconds spent on each timing, at least five rounds", group=TIMING,
                                     shown="seconds", above=0, greatest=3600)
    engine: str = setting("", "engine for networks with zeroed weights (default: the best on this machine)",
                          group=TIMING, allowed=RUNTIME_ENGINES)
    device: str = setting("cpu", "where to train and evaluate networks: cpu or cuda; timing is on the CPU",
                          group=RUN, form=check_name_of_device, check=check_device)
    threads: int = setting(0, "number of torch threads; 0: torch's default", group=RUN, least=0)

    @property
    def timing(self) -> Timing:
        """How networks are timed."""
        from secateur.runtime.timing import Timing

        return Timing(self.latency_batches, self.latency_seconds, self.threads, self.engine)

    @property
    def layer_settings(self) -> dict[str, Any]:
        """The settings of single layers."""
        return read_layers(self.layers)
