"""Every setting of ``secateur prune``, most of them those of a study: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.core import names, registry
from secateur.core.bounds import check_limit, check_sparsity
from secateur.core.choices import GOALS
from secateur.core.errors import SecateurError
from secateur.core.network_options import trust
from secateur.core.paths import check_out
from secateur.core.settings import CUT, NETWORK, RECOVERY, TIMING, TRAINING, setting, settings_of
from secateur.experiment.checks import check_bits, check_granularity, check_name_of_granularity, check_network
from secateur.experiment.common import CommonConfig
from secateur.experiment.config import StudyConfig

if TYPE_CHECKING:
    from secateur.experiment.point import Point


def _check_together(config: CutConfig) -> None:
    """Refuse settings that do not go together."""
    from secateur.experiment.combinations import check_criteria, check_scopes, check_settings_act
    from secateur.recovery.pipeline import check_criterion_is_used, recoveries

    if config.is_search:
        return
    check_criteria((config.chosen_criterion,), (config.granularity,))
    check_scopes((config.scope,), (config.granularity,))
    check_settings_act(config)
    config.point().spec.target(config.sparsity)
    check_criterion_is_used(config.criterion, recoveries(config.recoveries), config.kinds, config.default_criterion)


_NOT_SEARCHED = ("criterion", "scope", "budget", "layers", "min_sparsity", "max_sparsity", "pooling", "round_to")
"""Settings that a search does not take."""


def _check_search(config: CutConfig) -> None:
    """Refuse two limits, a goal without one, and settings that a search does not take."""
    if config.max_loss is None and config.agreement is None:
        if config.goal:
            raise SecateurError(f"goal {config.goal} without a search: it goes with max-loss or agreement")
        return
    check_limit(config.max_loss, config.agreement)
    usual = {one.name: one.default for one in settings_of(CutConfig)}
    if beside := [name.replace("_", "-") for name in _NOT_SEARCHED if getattr(config, name) != usual[name]]:
        raise SecateurError(f"{', '.join(beside)} with max-loss or agreement: a search does not take it; allowed are "
                            "sparsity, granularity and bits, which then stay fixed, skip and recovery")


def _check_epochs(config: CutConfig) -> None:
    """Refuse to train trained weights."""
    if config.weights and config.epochs:
        raise SecateurError(f"epochs {config.epochs} with weights: allowed is one of them; to train after the cut, "
                            "use a recovery such as --recovery best-finetune")


def _check_place(config: CutConfig) -> None:
    """Refuse a file that could not be written."""
    check_out(Path(config.out).expanduser(), config.force)


@dataclass(frozen=True, kw_only=True)
class CutConfig(CommonConfig):
    """The settings of one cut; the command line has a flag for each.

    Raises:
        SecateurError: a setting is outside what is allowed; the message says what is.
    """

    cross_checks = (_check_together,)
    cross_forms = (_check_search, _check_epochs, _check_place)

    model: str = setting("mlp", "the network, also accepted as the argument MODEL: a built-in name, "
                         "pkg.module:factory, a .safetensors, .pt2 or .keras file, a Hugging Face folder, timm:NAME",
                         form=names.check_network, check=check_network)
    data: str = setting("", "with labels: a built-in name, pkg.module:function, file.npz (default: mnist, if the "
                        "network is a built-in name or from a factory); without labels: .npz, .npy, .safetensors, "
                        ".txt with sentences, pkg.module:name", form=names.check_data)
    sparsity: float | None = setting(None, "fraction to remove, in [0, 1); omit it with N:M, or with an amount as "
                                     "budget, which imply it, and with --max-loss or --agreement, which search it",
                                     form=check_sparsity)
    max_loss: float | None = setting(None, "points of accuracy that may be lost, such as 0.5: searches sparsity, "
                                     "granularity (weight, 1x4, neuron) and bits (32, 8), those that are not given; "
                                     "needs labels")
    agreement: float | None = setting(None, "the same search without labels: how alike the outputs must be, such as "
                                      "0.98: the fraction with the same class, or the mean cosine")
    goal: str = setting("", "what the search looks for: the smallest file, which is the same on every machine, or the "
                        "fastest call on this machine, at the first --batch (default: size)", allowed=GOALS)
    granularity: str = setting("weight", "what is cut: weight, neuron, blocks such as 4x1, N:M such as 2:4",
                               form=check_name_of_granularity, check=check_granularity)
    out: str = setting("pruned.safetensors", "output file: .safetensors for secateur.load, .pt2 for torch.export.load; "
                       "cuts of weights can also keep the network's format (Hugging Face folder, .keras)")
    force: bool = setting(False, "replace an existing file")
    factory: str = setting("", "pkg.module:factory or built-in name that builds the network of a .safetensors",
                           group=NETWORK, form=partial(registry.check_name, "models"))
    example: str = setting("", "pkg.module:name of example inputs, for a factory or a folder without --data",
                           group=NETWORK)
    trust: bool = trust()
    criterion: str | None = setting(None, "how weights or neurons are scored (default: magnitude, for neurons "
                                          "elimination)", group=CUT,
                                    room="criteria")
    scope: str = setting("layer", "which items compete, or how the sparsity is spread over layers", group=CUT,
                         room="scopes")
    budget: str = setting("", "what scope budget counts: parameters, flops, bytes or ms; or an amount of it as JSON, "
                          'such as {"ms": 2.5, "batch": 64}', group=CUT, json=True)
    recovery: tuple[str, ...] | None = setting(
        None, "how accuracy is recovered after the cut, in this order (default: best; for weights with --criterion: "
        "reconstruct, then distil, which keep the criterion's choice)", group=RECOVERY, some=True,
        room="recovery")
    bits: int = setting(32, "in how many bits the cut network computes: 32, 16 (bfloat16) or 8 (int8); with sparsity 0 "
                        "the network is quantised alone", group=RECOVERY, form=check_bits)
    seed: int = setting(0, "random seed, for training and for all that is drawn at random", group=TRAINING)
    epochs: int | None = setting(None, "training epochs before the cut (default: 5 for a built-in network without "
                                 "weights, else none)", group=TRAINING, least=0)
    latency_batches: tuple[int, ...] = setting((1, 64), "batch sizes to time; empty (''): no timing",
                                               group=TIMING, shown="batch", least=1)

    def point(self, skip: tuple[str, ...] | None = None, samples: int = 0) -> Point:
        """How the network is cut.

        Args:
            skip: all modules that stay whole, the output layers among them.
            samples: how many samples are shown.
        """
        from secateur.experiment.point import Point, recovery_settings

        return Point(self.granularity, self.chosen_criterion, self.scope, self.sparsity, skip, self.seed,
                     self.recoveries, samples, self.layers, self.min_sparsity, self.max_sparsity, self.pooling,
                     self.budget, self.round_to, **recovery_settings(self.recoveries, self.distil_steps),
                     bits=self.bits, bits_samples=self.calibration if self.bits == 8 else 0)

    @property
    def is_search(self) -> bool:
        """Whether what may be lost is given, and how much goes is searched."""
        return self.max_loss is not None or self.agreement is not None

    @property
    def chosen_criterion(self) -> str:
        """The criterion asked for, or the best of the granularity that needs no labels."""
        return self.criterion or self.default_criterion

    @property
    def default_criterion(self) -> str:
        """The criterion where none is asked for."""
        from secateur.pruning.granularity import resolve

        return resolve(self.granularity).criterion(self.has_data)

    @property
    def has_data(self) -> bool:
        """Whether there are data."""
        return bool(self.chosen_data)

    @property
    def chosen_data(self) -> str:
        """The data asked for; else those of the studies, where the network fits itself to its data; else none."""
        fits = ":" in self.model or self.model in registry.files("models") or self.model.endswith(".safetensors")
        return self.data or ("" if self.example or not fits or self.model.startswith("timm:") else StudyConfig.data)

    @property
    def recoveries(self) -> tuple[str, ...]:
        """The recoveries asked for, or the best that needs no labels and keeps what a criterion of one's own chose."""
        from secateur.recovery.pipeline import default_recovery

        if self.recovery is None and self.is_quantized_alone:
            return ("none",)
        if self.recovery is None:
            return default_recovery(self.criterion is not None, self.kinds) if self.has_data else ("none",)
        return self.recovery

    @property
    def is_quantized_alone(self) -> bool:
        """Whether nothing goes, so that fewer bits are all that is asked for."""
        return self.bits != 32 and self.sparsity == 0 and not self.layers and self.min_sparsity == 0

    @property
    def kinds(self) -> frozenset[str]:
        """What is cut, of the network and of single layers."""
        from secateur.recovery.pipeline import kinds_of

        return kinds_of(self.granularity, self.layer_settings)

    @property
    def training(self) -> int:
        """How many epochs the network is trained before the cut."""
        built_in = self.model in registry.files("models") and not self.weights
        return self.epochs if self.epochs is not None else StudyConfig.epochs if built_in else 0
