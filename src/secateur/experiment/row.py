"""One measured result of a study: every setting and every figure of one cut network."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.signals.base import SOURCES
from secateur.recovery.pipeline import recoveries

SETTINGS = ("seed", "granularity", "criterion", "scope", "recovery", "sparsity", "bits")
"""The settings that single out a row of a study."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured result; ``row["accuracy"]`` reads the same as ``row.accuracy``, ``dict(row)`` gives all.

    Attributes:
        seed, granularity, criterion, scope, sparsity, recovery: which network was cut, and how.
        bits: in how many bits it computes, 32, 16 or 8.
        control: whether the criterion or the recovery is a baseline rather than a method to use.
        needs_labels: whether the criterion or the recovery learns from labels.
        reached: the sparsity that the cut gave.
        items, removed: how many removable items there are, and how many went.
        loss, accuracy: on the test samples.
        correct: ``numpy.packbits`` of the correctness of each test sample, as bytes.
        tests: the number of test samples.
        parameters, nonzeros: of the network as cut, before it was quantised.
        bytes: of its tensors, dense.
        bytes_sparse: the same with each tensor in the smallest of dense, bit mask and CSR.
        bytes_file: of the file that :func:`secateur.save` writes; None in rows of versions that did not measure it.
        flops, flops_nonzero: of one example; the second leaves out the products with a zero weight.
        layers: records of name, items, removed, sparsity, and removed_weights where blocks differ in size.
        notes: what a reader has to know of the cut.
        samples_seen: training samples shown to criterion and recovery; 0 for none.
        stages: what each step of a recovery gained and took, see :mod:`secateur.recovery.stages`.
        predictions: the classes given to the sample images.
        latency: batch as text → variant → median, low, high in seconds, and speedup, speedup_low, speedup_high over
            ``original``; None where nothing was timed, as of networks in fewer bits.
        conditions, work_ratio: how quiet the machine was, see :mod:`secateur.measure.noise`; None in rows of versions
            that did not record it.
        sparse_error: greatest relative difference of the sparse run's outputs from the dense run's.
        threads_used, engine_used: what the timing ran with.
        timed_as: the point whose timing this is, where a machine cannot tell the two networks apart (equal shapes, as
            many zeros in every layer); empty for its own.
    """

    seed: int
    granularity: str
    criterion: str
    scope: str
    sparsity: float
    recovery: str = "none"
    bits: int = 32
    control: bool = False
    needs_labels: bool = False
    reached: float
    items: int
    removed: int
    loss: float
    accuracy: float
    correct: builtins.bytes | None = None
    tests: int
    parameters: int
    nonzeros: int
    bytes: int
    bytes_sparse: int
    bytes_file: int | None = None
    flops: int
    flops_nonzero: int
    layers: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    samples_seen: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    latency: dict[str, dict[str, dict[str, float]]] | None = None
    conditions: dict[str, dict[str, Any]] | None = None
    work_ratio: float | None = None
    sparse_error: float | None = None
    threads_used: int | None = None
    engine_used: str = ""
    timed_as: str = ""

    @property
    def timing(self) -> dict[str, Any]:
        """What :mod:`secateur.measure.noise` reads."""
        return {"latency": self.latency or {}, "conditions": self.conditions, "work_ratio": self.work_ratio}

    @property
    def is_uncut(self) -> bool:
        """Whether its network is the uncut one: nothing is removed, and nothing was done afterwards."""
        return not self.removed and self.recovery == "none" and self.bits == 32

    @property
    def is_quantized_alone(self) -> bool:
        """Whether its network is the uncut one in fewer bits: nothing is removed or recovered."""
        return not self.removed and self.recovery == "none" and self.bits != 32

    def keys(self) -> list[str]:
        """The names of all settings and figures."""
        return [f.name for f in fields(self)]

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)


def read_row(settings: Mapping[str, Any], figures: Mapping[str, Any], timing: Mapping[str, Any] | None) -> Row:
    """The row of stored settings and figures; figures that this version does not know are left out."""
    values = {k: settings[k] for k in SETTINGS if k in settings}
    if values.get("recovery") == "best" and settings.get("recovery_version", 1) == 1:
        values["recovery"] = "refit"  # what "best" was before it ended with distillation
    if "needs_labels" not in figures:
        values |= facts_of_older_row(settings["criterion"], settings.get("recovery", "none"))
    values |= {k: v for k, v in {**figures, **(timing or {})}.items() if k in Row.__dataclass_fields__}
    return Row(**values)


def method_facts(criterion: str, recovery: str | tuple[str, ...]) -> dict[str, bool]:
    """What a row keeps of its criterion and its recovery, so that its readers need not ask the registries.

    >>> method_facts("magnitude", "finetune")
    {'control': False, 'needs_labels': True}
    """
    items = recoveries(recovery)
    needs = {need for item in items for need in item.needs}
    needs |= {source for need in as_criterion(criterion)[1].needs for source in SOURCES[need]}
    control = getattr(registry.get("criteria", criterion), "control", False) or any(item.control for item in items)
    return {"control": bool(control), "needs_labels": "labels" in needs}


def facts_of_older_row(criterion: str, recovery: str) -> dict[str, bool]:
    """The facts of a row stored before rows held them: those of today's criterion and recovery of the same names.

    A criterion or a recovery that is there no more, or is no part of this package, is taken for a method that needs no
    labels.
    """
    if ":" in criterion or ":" in recovery:
        # A row is a file: what it names is not imported to read it.
        return {"control": False, "needs_labels": False}
    try:
        return method_facts(criterion, recovery)
    except SecateurError:
        return {"control": False, "needs_labels": False}
