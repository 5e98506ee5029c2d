"""Every setting of a study, with its default, its help and its check: one frozen value."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from secateur import runtime
from secateur.core import registry, settings
from secateur.core.errors import SecateurError, unknown
from secateur.core.settings import setting
from secateur.pruning.criteria.base import as_criterion, criteria_for
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import check_pooling
from secateur.pruning.layer_rules import read_rule
from secateur.pruning.ranking import check_sparsity
from secateur.pruning.scopes.base import check_bounds
from secateur.pruning.scopes.budget import Budget, read_budget

GRID = (0.0, 0.01, 0.05, 0.1, 0.15, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)

OWN = {"models": ("pkg.module:factory",), "data": ("pkg.module:function", "file.npz")}


@dataclass(frozen=True)
class StudyConfig:
    """The settings of :func:`secateur.study`; the command line has a flag for each.

    Raises:
        SecateurError: a setting is outside what is allowed; the message says what is.
    """

    model: str = setting("mlp", "network: a built-in name or pkg.module:factory")
    data: str = setting("mnist", "data set: a built-in name, pkg.module:function or file.npz")
    weights: str = setting("", "trained weights (.safetensors); then nothing is trained")
    sparsity: tuple[float, ...] = setting(GRID, "fractions removed, each in [0, 1)")
    granularity: tuple[str, ...] = setting(("weight", "neuron"), "what is cut")
    criterion: tuple[str, ...] = setting(
        ("magnitude", "l2", "random"), "what decides; each is used with the granularities that it scores")
    scope: tuple[str, ...] = setting(("layer",), "which items compete, or how much each layer loses; each is used "
                                     "with the granularities that it is defined for")
    layers: str = setting("", "settings of single layers as JSON, from a name or expression to a sparsity, or to any "
                          "of sparsity, granularity, least, most, skip")
    least: float = setting(0.0, "fraction of every layer that goes at least")
    most: float = setting(1.0, "fraction of every layer that goes at most")
    pooling: str = setting("mean", "how the scores of a block's weights are joined: mean, sum or max")
    budget: str = setting("parameters", "what scope budget counts: at sparsity s, 1 - s of the original's parameters, "
                          "flops or bytes stay")
    scan: bool = setting(False, "also cut each layer by itself, which the report draws")
    recovery: tuple[str, ...] = setting(
        ("none",), "what wins accuracy back after a cut; each is used with every criterion")
    calibration: int = setting(8192, "training samples shown, without labels where possible, to what needs data")
    best: bool = setting(True, "beside cuts without recovery, also the best cut that needs no labels: for neurons "
                         "criterion elimination, for all recovery best")
    best_from: float = setting(0.7, "sparsity from which that is measured")
    controls: bool = setting(False, "add the controls: a random cut, what is left trained from scratch, and at "
                             "sparsity 0 the same recoveries without a cut")
    skip: tuple[str, ...] = setting((), "modules that stay whole besides the output layer, names or expressions")
    seeds: int = setting(3, "how many networks are trained and cut, with seeds 0, 1, ...")
    epochs: int = setting(5, "training epochs")
    batch_size: int = setting(64, "training batch")
    lr: float = setting(1e-3, "learning rate of Adam")
    tolerance: float = setting(0.005, "accuracy that may be lost in the report's answer, in [0, 1]")
    latency_batches: tuple[int, ...] = setting((1, 64, 1024), "batch sizes that are timed; none: no timing")
    latency_seconds: float = setting(0.25, "time spent on each timing, at least five rounds")
    device: str = setting("cpu", "where networks are trained and evaluated, cpu or cuda; timing is on the CPU")
    threads: int = setting(0, "torch threads; 0: as many as torch takes")
    engine: str = setting("", "what runs the zeroed network; empty: the best that this machine has")
    samples: int = setting(24, "test samples whose predictions are kept for the report")

    def __post_init__(self) -> None:
        settings.settle(self)
        if self.controls:
            object.__setattr__(self, "criterion", (*self.criterion, *({"random"} - set(self.criterion))))
            object.__setattr__(self, "recovery", (*self.recovery, *({"reinitialised"} - set(self.recovery))))
            object.__setattr__(self, "sparsity", (*({0.0} - set(self.sparsity)), *self.sparsity))
        for check in (_check_names, _check_criteria, _check_scopes, _check_layers, _check_grid, _check_numbers):
            check(self)

    def settings(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    def command(self, out: str | Path) -> str:
        """What to type for a study with these settings.

        >>> StudyConfig(data="digits", sparsity=(0, 0.5)).command("runs/a")
        'secateur study --data digits --sparsity 0,0.5 --out runs/a'
        """
        words = ["secateur", "study"]
        for f in fields(self):
            if (value := getattr(self, f.name)) == f.default:
                continue
            if isinstance(value, bool):
                words += [f"--{'' if value else 'no-'}{f.name}"]
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{f.name.replace('_', '-')}", ",".join(map(str, values))]
        return shlex.join([*words, "--out", str(out)])

    def criteria_of(self, granularity: str) -> list[str]:
        """The criteria asked for that can score a granularity."""
        scored = resolve(granularity).scored_as
        return [c for c in self.criterion if scored in as_criterion(c)[1].granularities]

    def scopes_of(self, granularity: str) -> list[str]:
        """The scopes asked for that are defined for a granularity: for N:M, whose sparsity is fixed, only ``layer``."""
        item = resolve(granularity)
        return [s for s in self.scope if item.scored_as in registry.get("scopes", s).scores
                and (item.sparsity is None or s == "layer")]

    def best_of(self, granularity: str) -> tuple[str, str] | None:
        """Criterion and scope of the best cut that needs no labels, where it is measured beside the plain ones: where
        no recovery is asked for but controls."""
        if not self.best or any(not (r == "none" or registry.get("recovery", r).control) for r in self.recovery):
            return None
        item, scopes = resolve(granularity), self.scopes_of(granularity)
        return item.informed_criterion or item.default_criterion, "layer" if "layer" in scopes else scopes[0]

    def sparsities_of(self, granularity: str) -> list[float]:
        """The sparsities asked for; for N:M the one that it has, and 0 where that was asked for."""
        fixed = resolve(granularity).sparsity
        return list(self.sparsity) if fixed is None else [*(s for s in self.sparsity if s == 0), fixed]

    @property
    def layer_settings(self) -> dict[str, Any]:
        """The settings of single layers."""
        return dict(json.loads(self.layers)) if self.layers else {}

    @classmethod
    def make(cls, *layers: Mapping[str, Any]) -> StudyConfig:
        """A configuration from mappings of settings, later ones winning.

        Raises:
            SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
        """
        return settings.make(cls, *layers)


@dataclass(frozen=True)
class RunOptions:
    """How a study is carried out and told: nothing here changes a row."""

    out: str = setting("", "the run's folder; empty: runs/MODEL-DATA")
    jobs: int = setting(1, "points measured at once on this machine")
    backend: str = setting("loky", "loky (this machine) or dask")
    address: str = setting("", "the Dask scheduler's address, tcp://HOST:PORT")
    csv: bool = setting(False, "also write rows.csv")
    parquet: bool = setting(False, "also write rows.parquet")


def configure(*layers: Mapping[str, Any]) -> tuple[StudyConfig, RunOptions]:
    """Settings and options from mappings that hold either, later ones winning; one seed where weights are given.

    Raises:
        SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
    """
    merged = {key: value for layer in layers for key, value in layer.items()}
    options = {f.name: f.default for f in fields(RunOptions)}
    known = [*options, *(f.name for f in fields(StudyConfig))]
    if strange := [k for k in merged if k not in known]:
        raise unknown("setting", strange[0], known)
    chosen = {k: settings.coerce(k, merged.pop(k), like) for k, like in options.items() if k in merged}
    one_seed = {"seeds": 1} if merged.get("weights") else {}
    return StudyConfig.make(one_seed, merged), RunOptions(**chosen)


def _check_names(config: StudyConfig) -> None:
    for granularity in config.granularity:
        resolve(granularity)
    for room, names in (("scopes", config.scope), ("criteria", config.criterion), ("recovery", config.recovery)):
        for name in names:
            registry.get(room, name)
    for room, value in (("models", config.model), ("data", config.data)):
        if ":" not in value and not value.endswith(".npz") and value not in registry.files(room):
            raise unknown(registry.ROOMS[room], value, [*registry.files(room), *OWN[room]])
    if not re.fullmatch(r"cpu|cuda(:\d+)?", config.device):
        raise SecateurError(f"device '{config.device}': allowed are cpu, cuda, cuda:N")
    if config.device != "cpu" and not torch.cuda.is_available():
        raise SecateurError(f"device '{config.device}': torch sees no GPU on this machine; allowed: cpu")
    if config.engine and config.engine not in runtime.ENGINES:
        raise unknown("engine", config.engine, runtime.ENGINES)


def _check_criteria(config: StudyConfig) -> None:
    """Every granularity has a criterion, and every criterion that was asked for has a granularity."""
    for granularity in config.granularity:
        if not config.criteria_of(granularity):
            raise SecateurError(f"criterion {', '.join(config.criterion) or 'none'}: none scores granularity "
                                f"'{granularity}'; allowed: {', '.join(criteria_for(granularity))}")
    for name in config.criterion if config.criterion != StudyConfig.criterion else ():
        scored = as_criterion(name)[1].granularities
        if not scored & {resolve(g).scored_as for g in config.granularity}:
            raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(scored))}, "
                                f"but granularity is {', '.join(config.granularity)}")


def _check_scopes(config: StudyConfig) -> None:
    """Every granularity has a scope that is defined for it, and every scope a granularity."""
    for granularity in config.granularity:
        if not config.scopes_of(granularity):
            fixed = resolve(granularity).sparsity is not None
            allowed = [n for n in registry.files("scopes") if not fixed or n == "layer"]
            raise SecateurError(f"scope {', '.join(config.scope) or 'none'}: none is defined for granularity "
                                f"'{granularity}'; allowed: {', '.join(allowed)}")
    for scope in config.scope:
        if not any(scope in config.scopes_of(g) for g in config.granularity):
            kinds = ", ".join(sorted(registry.get("scopes", scope).scores))
            raise SecateurError(f"scope '{scope}' is defined for {kinds} without N:M, "
                                f"but granularity is {', '.join(config.granularity)}")
    if Budget(**read_budget(config.budget)).resource == "ms":
        raise SecateurError("budget 'ms' in a study: milliseconds differ from run to run, so its rows could not be "
                            "made again; allowed: parameters, flops, bytes; for milliseconds take secateur.plan")


def _check_layers(config: StudyConfig) -> None:
    try:
        given = config.layer_settings
    except (ValueError, TypeError) as error:
        raise SecateurError(f"layers {config.layers!r} is not JSON: allowed is such as "
                            '{"fc1": 0.5, "conv.*": {"granularity": "4x1"}}') from error
    for pattern, said in given.items():
        read_rule(pattern, said)
    check_bounds("every layer", config.least, config.most)
    check_pooling(config.pooling)


def _check_grid(config: StudyConfig) -> None:
    for name in ("sparsity", "granularity", "criterion", "scope", "recovery", "skip", "latency_batches"):
        values = getattr(config, name)
        if twice := [v for i, v in enumerate(values) if v in values[:i]]:
            shown = ", ".join(map(str, values))
            raise SecateurError(f"{name.replace('_', '-')} {shown}: {twice[0]} stands there twice")
        if not values and name in ("sparsity", "granularity", "criterion", "scope", "recovery"):
            raise SecateurError(f"{name} is empty; allowed is at least one value")
    for sparsity in config.sparsity:
        check_sparsity(sparsity)


def _check_numbers(config: StudyConfig) -> None:
    least = {"seeds": 1, "epochs": 0, "batch_size": 1, "threads": 0, "samples": 0, "calibration": 1}
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise SecateurError(f"{name.replace('_', '-')} {getattr(config, name)}: allowed is {bound} or more")
    for name, high in (("lr", float("inf")), ("latency_seconds", 3600.0)):
        if not 0 < getattr(config, name) < high:
            raise SecateurError(f"{name.replace('_', '-')} {getattr(config, name)}: allowed is a number above 0")
    if not 0 <= config.best_from <= 1:
        raise SecateurError(f"best-from {config.best_from}: allowed is a sparsity in [0, 1], such as 0.5")
    if not 0 <= config.tolerance <= 1:
        raise SecateurError(f"tolerance {config.tolerance}: allowed is a loss of accuracy in [0, 1], such as 0.005")
    if bad := [b for b in config.latency_batches if b < 1]:
        raise SecateurError(f"latency-batches {bad[0]}: allowed is 1 or more")
    if config.weights and config.seeds != 1:
        raise SecateurError(f"seeds {config.seeds} with weights: one trained network is one seed; allowed: 1")
