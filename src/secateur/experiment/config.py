"""Every setting of a study, with its default, its help and its check: one frozen value."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.core import names, registry
from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.core.settings import (
    CUT,
    RECOVERY,
    REPORT,
    RUN,
    TIMING,
    TRAINING,
    Settings,
    make_each,
    setting,
    settings_of,
)
from secateur.experiment.checks import check_bits, check_granularity, check_name_of_granularity
from secateur.experiment.common import CommonConfig

if TYPE_CHECKING:
    from secateur.pruning.spec import PruningSpec

GRID = (0.0, 0.01, 0.05, 0.1, 0.15, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)

QUICK: dict[str, Any] = {
    "sparsity": (0.0, 0.5, 0.7, 0.8, 0.9), "criterion": ("magnitude", "l2"), "seeds": 1, "epochs": 2, "best_from": 0.8,
    "batch_size": 256, "calibration": 2048, "latency_batches": (1, 64), "latency_seconds": 0.1, "draft": True}
"""The settings of a first look in a minute: five sparsities, both cuts, the best recovery at two of them, no control;
larger batches, fewer samples for the recoveries, and less time for each timing, than in a whole study."""

_OF_SPEC = ("granularity", "pooling", "round_to", "criterion", "scope", "min_sparsity", "max_sparsity", "budget",
            "recovery", "layers", "skip", "bits")
"""The settings of a study that a spec decides."""


def _as_name(what: str, choice: Any, default: str) -> str:
    """The name of a criterion or recovery; rows and configurations are text."""
    if choice is None or isinstance(choice, str):
        return choice or default
    raise SecateurError(f"study: got {what} {choice!r}; allowed is a name, or pkg.module:name of one of your own")


def _add_controls(config: StudyConfig) -> None:
    """Add the criterion, the recovery and the sparsity of the controls, where they are asked for."""
    if config.controls:
        for name, value in (("criterion", "random"), ("recovery", "reinitialised")):
            names = getattr(config, name)
            object.__setattr__(config, name, names if value in names else (*names, value))
        if 0 not in config.sparsity:
            object.__setattr__(config, "sparsity", (0.0, *config.sparsity))


def _check_budget(budget: str) -> None:
    from secateur.pruning.scopes.budget import Budget, read_budget

    if Budget(**read_budget(budget)).resource == "ms":
        raise SecateurError("budget 'ms' in a study: milliseconds differ from run to run, so its rows could not be "
                            "reproduced; allowed: parameters, flops, bytes; for milliseconds use secateur.plan")


def _check_study(config: StudyConfig) -> None:
    from secateur.experiment.combinations import check_criteria, check_criteria_are_used, check_scopes
    from secateur.pruning.scopes.base import check_bounds

    check_criteria(config.criterion, config.granularity)
    if config.criterion != StudyConfig.criterion:  # the default names more than some granularities need
        check_criteria_are_used(config.criterion, config.granularity)
    check_scopes(config.scope, config.granularity)
    check_bounds("every layer", config.min_sparsity, config.max_sparsity)
    if config.weights and config.seeds != 1:
        raise SecateurError(f"seeds {config.seeds} with weights: one trained network is one seed; allowed: 1")


@dataclass(frozen=True, kw_only=True)
class StudyConfig(CommonConfig):
    """The settings of :func:`secateur.study`; the command line has a flag for each.

    Raises:
        SecateurError: a setting is outside what is allowed; the message says what is.
    """

    cross_checks = (_add_controls, _check_study)

    model: str = setting("mlp", "network: a built-in name or pkg.module:factory",
                         form=partial(names.check_in_study, "models"))
    data: str = setting("mnist", "data set: a built-in name, pkg.module:function or file.npz",
                        form=partial(names.check_in_study, "data"))
    sparsity: tuple[float, ...] = setting(GRID, "fractions to remove, each in [0, 1)", form=check_sparsity, some=True)
    granularity: tuple[str, ...] = setting(("weight", "neuron"), "what is cut", form=check_name_of_granularity,
                                           check=check_granularity, some=True)
    criterion: tuple[str, ...] = setting(
        ("magnitude", "l2", "random"), "how weights or neurons are scored; each is used with the granularities that "
                                       "it supports",
        room="criteria", some=True)
    scope: tuple[str, ...] = setting(
        ("layer",), "which items compete, or how the sparsity is spread over layers; each is used with the "
        "granularities that it supports", group=CUT, room="scopes", some=True)
    budget: str = setting("parameters", "what scope budget counts: at sparsity s, the fraction 1 - s of the original's "
                          "parameters, flops or bytes stays", group=CUT, check=_check_budget)
    scan: bool = setting(False, "also cut each layer by itself, for a figure in the report", group=REPORT)
    recovery: tuple[str, ...] = setting(
        ("none",), "how accuracy is recovered after a cut; each is used with every criterion", group=RECOVERY,
        room="recovery", some=True)
    bits: tuple[int, ...] = setting((32,), "in how many bits the cut networks compute: 32, 16 (bfloat16) or 8 (int8)",
                                    group=RECOVERY, form=check_bits, some=True)
    uncut_bits: tuple[int, ...] = setting((16, 8), "in how many bits the uncut network is measured too, for the "
                                          "comparison with every cut; empty (''): none", group=RECOVERY,
                                          form=check_bits)
    best: bool = setting(True, "also measure the best cut that needs no labels: recovery best, and for neurons "
                         "criterion elimination", group=RECOVERY)
    best_from: float = setting(0.7, "lowest sparsity at which that best cut is "
                                    "measured", group=RECOVERY, least=0, greatest=1)
    distil_steps: int = setting(160, "steps that recoveries best and distil train at most, towards the original's "
                                     "outputs; 0: what the sizes of network and data suggest", group=RECOVERY, least=0)
    controls: bool = setting(False, "add controls: a random cut, the cut network trained from scratch, and at "
                             "sparsity 0 the same recoveries without a cut", group=RECOVERY)
    seeds: int = setting(3, "number of networks to train and cut, with seeds 0, 1, ...", group=TRAINING, least=1)
    epochs: int = setting(5, "training epochs", group=TRAINING, least=0)
    timed_seeds: int = setting(1, "number of networks to time, seed 0 first; all have the same shapes",
                               group=TIMING, least=0)
    draft: bool = setting(False, "whether the study is a first look, marked as such", flag=False)
    tolerance: float = setting(0.005, "largest loss of accuracy that the report's answer accepts, in [0, "
                                      "1]", group=REPORT,
                               least=0, greatest=1)
    samples: int = setting(24, "number of test samples whose predictions the report shows", group=REPORT, least=0)

    @classmethod
    def of(cls, spec: PruningSpec, **settings: Any) -> StudyConfig:
        """The settings of a study of one spec; ``settings`` are the others, such as ``sparsity`` and ``seeds``.

        Raises:
            SecateurError: a spec that rows cannot hold, which are text: a criterion or a recovery that has no name,
                modules in ``skip``, or a setting that studies do not have.

        >>> from secateur import Block, Global, PruningSpec
        >>> config = StudyConfig.of(PruningSpec(granularity=Block(4, 2, pooling="max"), scope=Global()), seeds=1)
        >>> config.granularity, config.scope, config.pooling
        (('4x2',), ('global',), 'max')
        """
        from secateur.pruning.granularity import configure, resolve
        from secateur.pruning.scopes import resolve_scope
        from secateur.pruning.scopes.budget import Budget
        from secateur.quantization.settings import Int8, bits_of

        if beside := [name for name in settings if name in _OF_SPEC]:
            raise SecateurError(f"study: got a spec and {', '.join(beside)}; allowed is one of them")
        item, scope = spec.granularity_item, spec.scope_item
        config = cls(**{
            "granularity": (item.name,), "scope": (scope.name,),
            **{name: getattr(item, name) for name in ("pooling", "round_to") if hasattr(item, name)},
            "min_sparsity": scope.min_sparsity, "max_sparsity": scope.max_sparsity,
            "budget": scope.resource if isinstance(scope, Budget) else "parameters",
            "criterion": (_as_name("criterion", spec.criterion, item.default_criterion),),
            "recovery": (_as_name("recovery", spec.recovery, "none"),), "bits": (bits_of(spec.bits),),
            "layers": json.dumps(dict(spec.layers)) if spec.layers else "", "skip": spec.skip, **settings})
        share = {"share": config.budget} if isinstance(scope, Budget) else {}
        possible = replace(
            spec, seed=0, bits=Int8() if isinstance(spec.bits, Int8) else spec.bits,
            granularity=configure(resolve(item.name), pooling=config.pooling,
                                                round_to=config.round_to),
            scope=resolve_scope(scope.name, **share, min_sparsity=scope.min_sparsity, max_sparsity=scope.max_sparsity))
        if possible != spec:
            raise SecateurError(f"study: got {spec}, allowed of its settings are pooling, round_to, min_sparsity, "
                                "max_sparsity and a budget's name; seeds count from 0")
        return config

    def command(self, out: str | Path) -> str:
        """The command that runs a study with these settings.

        >>> StudyConfig(data="digits", sparsity=(0, 0.5)).command("runs/a")
        'secateur study --data digits --sparsity 0,0.5 --out runs/a'
        """
        words, usual = ["secateur", "study", *["--quick"] * self.draft], QUICK if self.draft else {}
        for one in settings_of(type(self)):
            value, flag = getattr(self, one.name), one.names[0].replace("_", "-")
            if one.flag and value != usual.get(one.name, one.default):
                text = ",".join(map(str, value)) if one.several else str(value)
                words += [f"--{'' if value else 'no-'}{flag}"] if one.item is bool else [f"--{flag}", text]
        return shlex.join([*words, "--out", str(out)])

    def criteria_of(self, granularity: str) -> list[str]:
        """The criteria asked for that can score a granularity."""
        from secateur.experiment.combinations import scoring_criteria

        return scoring_criteria(self.criterion, granularity)

    def best_of(self, granularity: str) -> tuple[str, str] | None:
        """Criterion and scope of the best cut that needs no labels; None where the study does not measure it.

        It stands beside plain cuts, so it is left out where a recovery is asked for that is no control.
        """
        from secateur.experiment.combinations import defined_scopes
        from secateur.pruning.granularity import resolve

        if not self.best or any(not (r == "none" or registry.get("recovery", r).control) for r in self.recovery):
            return None
        item, scopes = resolve(granularity), defined_scopes(self.scope, granularity)
        return item.criterion(True), "layer" if "layer" in scopes else scopes[0]

    def sparsities_of(self, granularity: str) -> list[float]:
        """The sparsities at which a granularity is cut; N:M has only its own, and 0 if requested."""
        from secateur.pruning.granularity import resolve

        only = resolve(granularity).sparsity
        return list(self.sparsity) if only is None else [*(s for s in self.sparsity if s == 0), only]


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Settings):
    """What is written beside the report."""

    csv: bool = setting(False, "also write rows.csv", group=REPORT)
    parquet: bool = setting(False, "also write rows.parquet", group=REPORT)


def _check_backend(options: RunOptions) -> None:
    if (options.backend == "dask") != bool(options.address):
        raise SecateurError(f"backend '{options.backend}' with address '{options.address}': allowed is --backend dask "
                            "with --address tcp://HOST:PORT, or neither")


@dataclass(frozen=True, kw_only=True)
class RunOptions(ReportOptions):
    """How a study is carried out and reported: nothing here changes a row, but that ``quick`` stands for settings."""

    cross_forms = (_check_backend,)

    out: str = setting("", "folder of the run (default: runs/MODEL-DATA)")
    quick: bool = setting(False, "a first look in a minute: one seed, two epochs, five sparsities, the best recovery "
                          "at two of them, batches 1 and 64, a report marked as a draft; other flags override it")
    jobs: int = setting(1, "number of points to measure at once on this machine", group=RUN, least=1)
    backend: str = setting("loky", "where points are measured, on this machine or on a Dask cluster", group=RUN,
                           allowed=("loky", "dask"))
    address: str = setting("", "address of the Dask scheduler, tcp://HOST:PORT", group=RUN)


def configure(*layers: Mapping[str, Any]) -> tuple[StudyConfig, RunOptions]:
    """Settings and options from mappings that hold either, later ones winning; one seed where weights are given.

    Where the last mapping that holds ``quick`` says so, the settings of :data:`QUICK` stand for the defaults.

    Raises:
        SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
    """
    one_seed = {"seeds": 1} if any(layer.get("weights") for layer in layers) else {}
    quick = next((layer["quick"] for layer in reversed(layers) if "quick" in layer), False)
    preset = QUICK if quick is True else {}
    return make_each((StudyConfig, RunOptions), preset, one_seed, *layers)  # type: ignore[return-value]
