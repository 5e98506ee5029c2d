"""``search``: the verb."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from secateur.core.bounds import above, check_settings, whole
from secateur.core.choices import GOALS, Goal
from secateur.core.errors import FewSamplesWarning, LeftOutWarning, SecateurError, unknown
from secateur.core.module_state import untouched
from secateur.core.modules import keep_marks
from secateur.core.progress import Progress
from secateur.data.calibration import Calibration, calibration
from secateur.experiment.search.limit import Limit
from secateur.experiment.search.result import SearchResult
from secateur.experiment.search.run import Search, parted
from secateur.experiment.search.space import BITS, GRID, KINDS, Space, several
from secateur.experiment.search.trials import Maker
from secateur.graph.check import check_module, check_weights
from secateur.pruning.arguments import refuse_wrong_arguments
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.layer_rules import resolve_skip
from secateur.recovery.pipeline import RecoveryChoice, check_recoveries, default_recovery, recoveries
from secateur.recovery.quantizing import check_not_quantized

_SECONDS = 0.5
"""What timing takes for each candidate."""


@refuse_wrong_arguments
def search(model: nn.Module, data: Any, *, max_loss: float | None = None, agreement: float | None = None,
           goal: Goal = "size", sparsity: float | Sequence[float] | None = None,
           granularity: GranularityChoice | Sequence[GranularityChoice] | None = None,
           bits: int | Sequence[int] | None = None, recovery: RecoveryChoice | None = None,
           skip: Sequence[str | nn.Module] | None = None, batch: int = 1, seed: int = 0) -> SearchResult:
    """Find the smallest or the fastest network within a stated loss; the model that is passed in stays as it is.

    An eighth of the samples is held out: neither recoveries nor ranges of int8 see it, and every loss is measured on
    it. First come the network as it is and the network quantised alone; then for each granularity the highest sparsity
    within the limit is found by halving, and each cut that is within it is quantised, too. Losses are taken to grow
    with the sparsity.

    Args:
        model: any module.
        data: as :func:`secateur.prune` takes it; 128 samples or more.
        max_loss: the points of accuracy that may be lost (0.5: from 98.0 % to 97.5 %); needs labels that are classes.
        agreement: without labels, how alike the outputs have to be, in (0, 1]: the fraction of rows with the same
            class, or the mean cosine where outputs are no scores.
        goal: ``"size"``: the smallest file of :func:`secateur.save`; ``"speed"``: the least time of a call on this
            machine, each candidate in its fastest engine: torch, :func:`secateur.compile` where weights are zero, and
            ONNX Runtime where it is installed, which alone runs int8.
        sparsity: one or several to try; by default eight from 0.3 to 0.98.
        granularity: one or several; by default weights, blocks of 1x4, and neurons.
        bits: one or several of 32, 16 and 8; by default 32 and 8.
        recovery: as in :func:`secateur.prune`; by default ``"best"``, which needs no labels.
        skip: what stays whole, as in :func:`secateur.prune`.
        batch: how many samples a call has that is timed.
        seed: for what draws at random.

    Returns:
        A frozen value: ``network``, ``taken`` (its row) and ``tried`` (all rows, with losses, intervals, bytes and
        times); ``print`` shows them as a table.

    Warns:
        FewSamplesWarning, LeftOutWarning: as :func:`secateur.prune`, of the network that is returned.

    Raises:
        SecateurError: no limit or both, ``max_loss`` without labels, too few samples, or a value that is not allowed.

    >>> net, x = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)), torch.rand(256, 8)
    >>> found = search(net, x, agreement=0.5, granularity="weight", sparsity=[0.5, 0.9])
    >>> found.taken.is_within, found.taken.bytes == min(row.bytes for row in found.tried if row.is_within)
    (True, True)
    """
    space = Space(several(sparsity, GRID), several(granularity, KINDS), several(bits, BITS))
    found = find(model, calibration(data), Limit(max_loss, agreement), goal, space, recovery=recovery, skip=skip,
                 batch=batch, seed=seed)
    warn_of(found, 4)
    return found


def find(model: nn.Module, samples: Calibration | None, limit: Limit, goal: Goal, space: Space, *,
         recovery: RecoveryChoice | None = None, skip: Any = None, batch: int = 1, seed: int = 0,
         outputs: Sequence[str] | None = None, seconds: float = _SECONDS,
         progress: Progress | None = None) -> SearchResult:
    """As :func:`search`, without warnings: for callers that show the notes themselves.

    Args:
        model, samples, limit, goal, space, recovery, skip, batch, seed: as there.
        outputs: the layers that make the outputs, where they are known.
        seconds: what timing takes for each candidate.
        progress: is told of each network that was recovered.
    """
    check_module("search", model)
    check_not_quantized(model)
    check_weights(model)
    resolve_skip(model, skip or ())
    check_settings("search", {"batch": batch, "seconds": seconds}, batch=whole(1), seconds=above(0))
    if goal not in GOALS:
        raise unknown("goal", str(goal), GOALS)
    if samples is None:
        raise SecateurError("search: data is None; allowed is inputs, a pair (inputs, labels), or batches of them")
    items = recoveries(recovery if recovery is not None else default_recovery(False, frozenset()))
    check_recoveries(items, samples)
    with torch.inference_mode(False), untouched(model):
        asked, held = parted(model, samples)
        maker = Maker(asked, items, skip, outputs, seed=seed)
        found = Search(maker, held, limit, goal, space, progress or Progress()).run(batch, seconds)
        network = copy.deepcopy(model) if found.network is model else found.network
        return replace(found, network=keep_marks(model, network))


def warn_of(found: SearchResult, level: int) -> None:
    """Warn of what recovery and quantising of the network that was taken could not do."""
    for note in found.made.few_rows():
        warnings.warn(note, FewSamplesWarning, stacklevel=level)
    for note in found.made.left_out():
        warnings.warn(note, LeftOutWarning, stacklevel=level)
