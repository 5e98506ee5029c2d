"""Every setting of ``secateur prune``, most of them those of a study: one frozen value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from secateur.core import registry, settings
from secateur.core.errors import SecateurError
from secateur.core.paths import check_out
from secateur.core.settings import optional, setting
from secateur.data.samples import check_name
from secateur.experiment.config import StudyConfig
from secateur.experiment.spec import spec_of
from secateur.models import resolve
from secateur.pruning.spec import PruningSpec, default_criterion
from secateur.recovery.pipeline import check_criterion_is_used, default_recovery, kinds_of, recoveries

STUDY = {f.name: f for f in fields(StudyConfig)}


def shared(name: str, default: Any = MISSING) -> Any:
    """A setting of the study under its name, with another default where one is given."""
    known = STUDY[name]
    return setting(known.default if default is MISSING else default, known.metadata["help"])


@dataclass(frozen=True)
class CutConfig:
    """The settings of one cut; the command line has a flag for each.

    Raises:
        SecateurError: a setting is outside what is allowed; the message says what is.
    """

    model: str = setting("mlp", "the network, also as the first word behind prune: a built-in name, "
                         "pkg.module:factory, a file .safetensors, .pt2 or .keras, a Hugging Face folder, timm:NAME")
    factory: str = setting("", "pkg.module:factory or built-in name that makes the network of a .safetensors")
    data: str = setting("", "labelled: a built-in name, pkg.module:function, file.npz (default: mnist, where the "
                        "network is a built-in name or from a factory); without labels: .npz, .npy, .safetensors, "
                        ".txt of sentences, pkg.module:name")
    example: str = setting("", "pkg.module:name of inputs, for a network from a factory or a folder without data")
    weights: str = shared("weights")
    sparsity: float | None = optional(float, "fraction removed, in [0, 1); not given where it follows: from N:M, or an "
                                      "amount as budget")
    granularity: str = setting("weight", "what is cut: weight, neuron, blocks such as 4x1, N:M such as 2:4")
    criterion: str | None = optional(str, "what decides (default: magnitude, for neurons elimination)")
    scope: str = setting("layer", "which items compete, or how much each layer loses")
    layers: str = shared("layers")
    least: float = shared("least")
    most: float = shared("most")
    pooling: str = shared("pooling")
    budget: str = setting("", "what scope budget counts: parameters, flops, bytes or ms; or an amount of it as JSON, "
                          'such as {"ms": 2.5, "batch": 64}')
    round_to: int = setting(1, "neurons and channels left are a multiple of this")
    recovery: tuple[str, ...] | None = optional(tuple, "what wins accuracy back after the cut, done in this order "
                                               "(default: best; with a criterion of yours for weights reconstruct, "
                                               "which keeps what it chose)")
    calibration: int = shared("calibration")
    skip: tuple[str, ...] = shared("skip")
    seed: int = setting(0, "for the training, and what draws at random")
    epochs: int | None = optional(int, "training epochs before the cut (default: 5 for a built-in network without "
                                  "weights, else none)")
    batch_size: int = shared("batch_size")
    lr: float = shared("lr")
    latency_batches: tuple[int, ...] = shared("latency_batches", (1, 64))
    latency_seconds: float = shared("latency_seconds")
    device: str = shared("device")
    threads: int = shared("threads")
    engine: str = shared("engine")
    out: str = setting("pruned.safetensors", "the file that is written; secateur.load reads it, or torch "
                       "where it ends in .pt2; where weights go, also a folder from a folder, .keras from .keras")
    force: bool = setting(False, "replace the file where it is there")

    def __post_init__(self) -> None:
        settings.settle(self)
        resolve.kind_of(self.model).check(self.model)
        if self.data:
            check_name(self.data)
        _ = self.study
        self.spec().target(self.sparsity)
        check_criterion_is_used(self.criterion, recoveries(self.recoveries), self._kinds, self.default_criterion)
        check_out(Path(self.out).expanduser(), self.force)

    @classmethod
    def make(cls, *layers: Mapping[str, Any]) -> CutConfig:
        """Settings from mappings, later ones winning.

        Raises:
            SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
        """
        return settings.make(cls, *layers)

    @property
    def study(self) -> StudyConfig:
        """The study of one point that has these settings, which checks them."""
        same = {name: getattr(self, name) for name in STUDY if name in {f.name for f in fields(self)}}
        known = ":" in self.model or self.model in registry.files("models")
        data = self.data if ":" in self.data or self.data in registry.files("data") else StudyConfig.data
        return StudyConfig(**same | {
            "model": self.model if known else f"file:{self.model}", "data": data, "weights": "",
            "sparsity": (0.0 if self.sparsity is None else self.sparsity,), "granularity": (self.granularity,),
            "criterion": (self.chosen_criterion,), "recovery": self.recoveries,
            "scope": (self.scope,), "epochs": self.training, "seeds": 1,
            "budget": "parameters", "best": False})

    @property
    def chosen_criterion(self) -> str:
        """The criterion asked for, or the best of the granularity that needs no labels."""
        return self.criterion or self.default_criterion

    @property
    def default_criterion(self) -> str:
        """The criterion where none is asked for."""
        return default_criterion(self.granularity, self.informed)

    @property
    def informed(self) -> bool:
        """Whether there are data."""
        return bool(self.chosen_data)

    @property
    def chosen_data(self) -> str:
        """The data asked for, or those of the studies where the network fits itself to its data; else none."""
        fits = ":" in self.model or self.model in registry.files("models") or self.model.endswith(".safetensors")
        return self.data or ("" if self.example or not fits or self.model.startswith("timm:") else StudyConfig.data)

    @property
    def recoveries(self) -> tuple[str, ...]:
        """The recoveries asked for, or the best that needs no labels and keeps what a criterion of one's own chose."""
        if self.recovery is None:
            return (default_recovery(self.criterion is not None, self._kinds) if self.informed else "none",)
        return self.recovery

    @property
    def _kinds(self) -> frozenset[str]:
        return kinds_of(self.granularity, json.loads(self.layers or "{}"))

    @property
    def training(self) -> int:
        """How many epochs the network is trained before the cut."""
        if self.weights and self.epochs:
            raise SecateurError(f"epochs {self.epochs} with weights: allowed is one of them; what trains after the cut "
                                "is a recovery, such as --recovery best-finetune")
        built_in = self.model in registry.files("models") and not self.weights
        return self.epochs if self.epochs is not None else StudyConfig.epochs if built_in else 0

    def spec(self, skip: Sequence[str] | None = None) -> PruningSpec:
        """What is cut how; ``skip`` names all modules that stay whole, the output layers among them."""
        return spec_of(self.granularity, self.chosen_criterion, self.scope, layers=self.study.layer_settings,
                       min_sparsity=self.least, max_sparsity=self.most, pooling=self.pooling, round_to=self.round_to,
                       budget=self.budget, skip=skip, seed=self.seed)


