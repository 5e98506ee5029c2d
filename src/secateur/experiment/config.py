"""Every setting of a study, with its default, its help and its check: one frozen value."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from secateur import runtime
from secateur.core import registry
from secateur.core.errors import SecateurError, unknown
from secateur.core.settings import (
    CUT,
    NETWORK,
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
from secateur.pruning import granularity as granularities
from secateur.pruning.criteria.base import as_criterion, criteria_for
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import POOLINGS
from secateur.pruning.layer_rules import read_rule
from secateur.pruning.ranking import check_sparsity
from secateur.pruning.scopes import resolve_scope
from secateur.pruning.scopes.base import check_bounds
from secateur.pruning.scopes.budget import Budget, read_budget
from secateur.pruning.spec import PruningSpec
from secateur.runtime.timing import Timing

GRID = (0.0, 0.01, 0.05, 0.1, 0.15, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
OWN = {"models": ("pkg.module:factory",), "data": ("pkg.module:function", "file.npz")}


def _check_item(room: str, name: str) -> None:
    """Refuse a name that is neither an item of a room, nor, of models and data sets, one of the user's own."""
    if ":" not in name and not name.endswith(".npz") and name not in registry.files(room):
        raise unknown(registry.ROOMS[room], name, [*registry.files(room), *OWN[room]])


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise SecateurError(f"device '{device}': allowed are cpu, cuda, cuda:N")
    if device != "cpu" and not torch.cuda.is_available():
        raise SecateurError(f"device '{device}': torch sees no GPU on this machine; allowed: cpu")


def read_layers(text: str) -> dict[str, Any]:
    """The settings of single layers from their JSON.

    Raises:
        SecateurError: it is no JSON.
    """
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError) as error:
        raise SecateurError(f"layers {text!r} is not JSON: allowed is such as "
                            '{"fc1": 0.5, "conv.*": {"granularity": "4x1"}}') from error


def check_layers(text: str) -> None:
    """Refuse settings of single layers that are not allowed, whatever the network."""
    for pattern, said in read_layers(text).items():
        read_rule(pattern, said)


_OF_SPEC = ("granularity", "pooling", "criterion", "scope", "min_sparsity", "max_sparsity", "budget", "recovery",
            "layers", "skip")
"""The settings of a study that a spec decides."""


def _as_name(what: str, choice: Any, default: str) -> str:
    """The name of a criterion or recovery; rows and configurations are text."""
    if choice is None or isinstance(choice, str):
        return choice or default
    raise SecateurError(f"study: got {what} {choice!r}; allowed is a name, or pkg.module:name of one of yours")


@dataclass(frozen=True, kw_only=True)
class CommonConfig(Settings):
    """What a study and the cut of one network both have."""

    weights: str = setting("", "trained weights (.safetensors); then nothing is trained", group=NETWORK)
    skip: tuple[str, ...] | None = setting(None, "modules that stay whole besides the output layer, names or "
                                           "expressions", group=CUT)
    layers: str = setting("", "settings of single layers as JSON, from a name or expression to a sparsity, or to any "
                           "of sparsity, granularity, min_sparsity, max_sparsity, skip", group=CUT, json=True,
                           check=check_layers)
    min_sparsity: float = setting(0.0, "fraction of every layer that goes at least", group=CUT, aliases=("least",))
    max_sparsity: float = setting(1.0, "fraction of every layer that goes at most", group=CUT, aliases=("most",))
    pooling: str = setting("mean", "how the scores of a block's weights are joined", group=CUT, allowed=POOLINGS)
    calibration: int = setting(8192, "training samples shown, without labels where possible, to what needs data",
                               group=RECOVERY, least=1)
    batch_size: int = setting(64, "training batch", group=TRAINING, least=1)
    lr: float = setting(1e-3, "learning rate of Adam", group=TRAINING, above=0)
    latency_batches: tuple[int, ...] = setting((1, 64, 1024), "batch sizes that are timed; none: no timing",
                                               group=TIMING, least=1)
    latency_seconds: float = setting(0.25, "time spent on each timing, at least five rounds", group=TIMING, above=0,
                                     greatest=3600)
    engine: str = setting("", "what runs the zeroed network; empty: the best that this machine has", group=TIMING,
                          allowed=tuple(runtime.ENGINES))
    device: str = setting("cpu", "where networks are trained and evaluated, cpu or cuda; timing is on the CPU",
                          group=RUN, check=_check_device)
    threads: int = setting(0, "torch threads; 0: as many as torch takes", group=RUN, least=0)

    @property
    def timing(self) -> Timing:
        """How networks are timed."""
        return Timing(self.latency_batches, self.latency_seconds, self.threads, self.engine)

    @property
    def layer_settings(self) -> dict[str, Any]:
        """The settings of single layers."""
        return read_layers(self.layers)


def _add_controls(config: StudyConfig) -> None:
    """Add the criterion, the recovery and the sparsity of the controls, where they are asked for."""
    if config.controls:
        for name, value in (("criterion", "random"), ("recovery", "reinitialised")):
            given = getattr(config, name)
            object.__setattr__(config, name, given if value in given else (*given, value))
        if 0 not in config.sparsity:
            object.__setattr__(config, "sparsity", (0.0, *config.sparsity))


def _scoring_criteria(criteria: Iterable[str], granularity: str) -> list[str]:
    """The criteria that can score a granularity."""
    scored = resolve(granularity).scored_as
    return [c for c in criteria if scored in as_criterion(c)[1].granularities]


def defined_scopes(scopes: Iterable[str], granularity: str) -> list[str]:
    """The scopes that are defined for a granularity: for N:M, whose sparsity is fixed, only ``layer``."""
    item = resolve(granularity)
    return [s for s in scopes if item.scored_as in registry.get("scopes", s).scores
            and (item.sparsity is None or s == "layer")]


def check_criteria(criteria: tuple[str, ...], granularities: tuple[str, ...]) -> None:
    """Refuse a granularity without a criterion, and a criterion without a granularity.

    The criteria that a study takes by default may be more than it needs.
    """
    for granularity in granularities:
        if not _scoring_criteria(criteria, granularity):
            raise SecateurError(f"criterion {', '.join(criteria)}: none scores granularity '{granularity}'; "
                                f"allowed: {', '.join(criteria_for(granularity))}")
    for name in criteria if criteria != StudyConfig.criterion else ():
        scored = as_criterion(name)[1].granularities
        if not scored & {resolve(g).scored_as for g in granularities}:
            raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(scored))}, "
                                f"but granularity is {', '.join(granularities)}")


def check_scopes(scopes: tuple[str, ...], granularities: tuple[str, ...]) -> None:
    """Refuse a granularity that no scope is defined for, and a scope without a granularity."""
    for granularity in granularities:
        if not defined_scopes(scopes, granularity):
            fixed = resolve(granularity).sparsity is not None
            allowed = [n for n in registry.files("scopes") if not fixed or n == "layer"]
            raise SecateurError(f"scope {', '.join(scopes)}: none is defined for granularity '{granularity}'; "
                                f"allowed: {', '.join(allowed)}")
    for scope in scopes:
        if not any(defined_scopes([scope], g) for g in granularities):
            kinds = ", ".join(sorted(registry.get("scopes", scope).scores))
            raise SecateurError(f"scope '{scope}' is defined for {kinds} without N:M, "
                                f"but granularity is {', '.join(granularities)}")


def _check_budget(budget: str) -> None:
    if Budget(**read_budget(budget)).resource == "ms":
        raise SecateurError("budget 'ms' in a study: milliseconds differ from run to run, so its rows could not be "
                            "made again; allowed: parameters, flops, bytes; for milliseconds take secateur.plan")


def _check_study(config: StudyConfig) -> None:
    check_criteria(config.criterion, config.granularity)
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

    model: str = setting("mlp", "network: a built-in name or pkg.module:factory", check=partial(_check_item, "models"))
    data: str = setting("mnist", "data set: a built-in name, pkg.module:function or file.npz",
                        check=partial(_check_item, "data"))
    sparsity: tuple[float, ...] = setting(GRID, "fractions removed, each in [0, 1)", check=check_sparsity, some=True)
    granularity: tuple[str, ...] = setting(("weight", "neuron"), "what is cut", check=resolve, some=True)
    criterion: tuple[str, ...] = setting(
        ("magnitude", "l2", "random"), "what decides; each is used with the granularities that it scores",
        check=partial(registry.get, "criteria"), some=True)
    scope: tuple[str, ...] = setting(
        ("layer",), "which items compete, or how much each layer loses; each is used with the granularities that it is "
        "defined for", group=CUT, check=partial(registry.get, "scopes"), some=True)
    budget: str = setting("parameters", "what scope budget counts: at sparsity s, 1 - s of the original's parameters, "
                          "flops or bytes stay", group=CUT, check=_check_budget)
    scan: bool = setting(False, "also cut each layer by itself, which the report draws", group=REPORT)
    recovery: tuple[str, ...] = setting(
        ("none",), "what wins accuracy back after a cut; each is used with every criterion", group=RECOVERY,
        check=partial(registry.get, "recovery"), some=True)
    best: bool = setting(True, "beside cuts without recovery, also the best cut that needs no labels: for neurons "
                         "criterion elimination, for all recovery best", group=RECOVERY)
    best_from: float = setting(0.7, "sparsity from which that is measured", group=RECOVERY, least=0, greatest=1)
    controls: bool = setting(False, "add the controls: a random cut, what is left trained from scratch, and at "
                             "sparsity 0 the same recoveries without a cut", group=RECOVERY)
    seeds: int = setting(3, "how many networks are trained and cut, with seeds 0, 1, ...", group=TRAINING, least=1)
    epochs: int = setting(5, "training epochs", group=TRAINING, least=0)
    tolerance: float = setting(0.005, "accuracy that may be lost in the report's answer, in [0, 1]", group=REPORT,
                               least=0, greatest=1)
    samples: int = setting(24, "test samples whose predictions are kept for the report", group=REPORT, least=0)

    @classmethod
    def of(cls, spec: PruningSpec, **settings: Any) -> StudyConfig:
        """The settings of a study of one spec; ``settings`` are the others, such as ``sparsity`` and ``seeds``.

        Raises:
            SecateurError: a spec that rows cannot hold, which are text: a criterion or a recovery that has no name,
                modules in ``skip``, or a setting that studies do not have.

        >>> from secateur import Block, Global
        >>> config = StudyConfig.of(PruningSpec(granularity=Block(4, 2, pooling="max"), scope=Global()), seeds=1)
        >>> config.granularity, config.scope, config.pooling
        (('4x2',), ('global',), 'max')
        """
        if beside := [name for name in settings if name in _OF_SPEC]:
            raise SecateurError(f"study: got a spec and {', '.join(beside)}; allowed is one of them")
        item, scope = spec.granularity_item, spec.scope_item
        config = cls(**{
            "granularity": (item.name,), "pooling": getattr(item, "pooling", "mean"),
            "criterion": (_as_name("criterion", spec.criterion, item.default_criterion),),
            "scope": (scope.name,), "min_sparsity": scope.min_sparsity, "max_sparsity": scope.max_sparsity,
            "budget": scope.resource if isinstance(scope, Budget) else "parameters",
            "recovery": (_as_name("recovery", spec.recovery, "none"),),
            "layers": json.dumps(dict(spec.layers)) if spec.layers else "", "skip": spec.skip, **settings})
        share = {"share": config.budget} if isinstance(scope, Budget) else {}
        same = PruningSpec(
            granularity=granularities.configure(resolve(item.name), pooling=config.pooling), criterion=spec.criterion,
            scope=resolve_scope(scope.name, **share, min_sparsity=scope.min_sparsity, max_sparsity=scope.max_sparsity),
            recovery=spec.recovery, skip=spec.skip or None, layers=spec.layers)
        if same != spec:
            raise SecateurError(f"study: got {spec}, allowed of its settings are pooling, min_sparsity, max_sparsity "
                                "and a budget's name; seeds count from 0, and the output layer stays")
        return config

    def command(self, out: str | Path) -> str:
        """What to type for a study with these settings.

        >>> StudyConfig(data="digits", sparsity=(0, 0.5)).command("runs/a")
        'secateur study --data digits --sparsity 0,0.5 --out runs/a'
        """
        words = ["secateur", "study"]
        for one in settings_of(type(self)):
            value, flag = getattr(self, one.name), one.name.replace("_", "-")
            if value != one.default:
                given = ",".join(map(str, value)) if one.several else str(value)
                words += [f"--{'' if value else 'no-'}{flag}"] if one.item is bool else [f"--{flag}", given]
        return shlex.join([*words, "--out", str(out)])

    def criteria_of(self, granularity: str) -> list[str]:
        """The criteria asked for that can score a granularity."""
        return _scoring_criteria(self.criterion, granularity)

    def best_of(self, granularity: str) -> tuple[str, str] | None:
        """Criterion and scope of the best cut that needs no labels, where it is measured beside the plain ones: where
        no recovery is asked for but controls."""
        if not self.best or any(not (r == "none" or registry.get("recovery", r).control) for r in self.recovery):
            return None
        item, scopes = resolve(granularity), defined_scopes(self.scope, granularity)
        return item.criterion(True), "layer" if "layer" in scopes else scopes[0]

    def sparsities_of(self, granularity: str) -> list[float]:
        """The sparsities asked for; for N:M the one that it has, and 0 where that was asked for."""
        fixed = resolve(granularity).sparsity
        return list(self.sparsity) if fixed is None else [*(s for s in self.sparsity if s == 0), fixed]


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
    """How a study is carried out and reported: nothing here changes a row."""

    cross_checks = (_check_backend,)

    out: str = setting("", "the run's folder; empty: runs/MODEL-DATA")
    jobs: int = setting(1, "points measured at once on this machine", group=RUN, least=1)
    backend: str = setting("loky", "what spreads the points: this machine, or a cluster", group=RUN,
                           allowed=("loky", "dask"))
    address: str = setting("", "the Dask scheduler's address, tcp://HOST:PORT", group=RUN)


def configure(*layers: Mapping[str, Any]) -> tuple[StudyConfig, RunOptions]:
    """Settings and options from mappings that hold either, later ones winning; one seed where weights are given.

    Raises:
        SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
    """
    one_seed = {"seeds": 1} if any(layer.get("weights") for layer in layers) else {}
    return make_each((StudyConfig, RunOptions), one_seed, *layers)  # type: ignore[return-value]
