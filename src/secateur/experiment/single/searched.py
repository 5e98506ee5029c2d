"""One network cut as far as a stated loss allows, measured on test samples, and written to a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from torch import nn

from secateur.core.choices import Goal
from secateur.core.errors import SecateurError
from secateur.core.progress import Progress
from secateur.data.calibration import Calibration
from secateur.data.samples import GIVEN
from secateur.experiment.search.limit import Limit
from secateur.experiment.search.result import SearchResult
from secateur.experiment.search.search import find
from secateur.experiment.search.space import BITS, GRID, KINDS, Space, several
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.output import check_form
from secateur.experiment.single.prune import CutNetwork, Steps, measure_and_write, train
from secateur.experiment.single.task import SingleCut, open_cut
from secateur.experiment.trial import Trial
from secateur.measure.latency import torch_threads
from secateur.pruning.granularity import resolve
from secateur.recovery.methods.distil import with_steps
from secateur.recovery.pipeline import recoveries

_TRAINING = "the search measured on training samples; the accuracy below is that of test samples, which decided nothing"


def search_network(config: CutConfig, fixed: Collection[str] = (), progress: Progress | None = None) -> CutNetwork:
    """Take or train a network, search the cut that the settings' limit allows, measure it, write it and read it back.

    Args:
        config: the settings, a limit among them.
        fixed: ``granularity`` or ``bits`` where these are not searched; a sparsity that is given is not searched.
        progress: is told of the steps.

    Raises:
        SecateurError: anything in the settings, network, data or file that the caller can mend.
        MeasurementError: the network that was read back gives other outputs.
    """
    progress, space = progress or Progress(), _space(config, fixed)
    limit = Limit(config.max_loss, config.agreement)
    single = open_cut(config)
    check_form(Path(config.out).expanduser(), single.kind,
               not any(resolve(one).needs_example for one in space.granularities), min(space.bits))
    samples = _samples(single)
    model = train(single, progress)
    found = _find(single, model, samples, limit, space, progress)
    taken = found.candidate
    chosen = replace(config, sparsity=taken.sparsity, granularity=taken.granularity or "weight", bits=taken.bits)
    return _finish(replace(single, config=chosen), model, found, sum(map(len, samples)))


def _space(config: CutConfig, fixed: Collection[str]) -> Space:
    """What is searched."""
    return Space(several(config.sparsity, GRID), (config.granularity,) if "granularity" in fixed else KINDS,
                 (config.bits,) if "bits" in fixed else BITS)


def _samples(single: SingleCut) -> Calibration:
    """The samples of which an eighth is held out.

    Raises:
        SecateurError: there are none, or they have no labels where points of accuracy are asked for.
    """
    config, task = single.config, single.task
    if config.max_loss is not None and not task.labelled_samples:
        raise SecateurError(f"max-loss {config.max_loss:g} without labels: points of accuracy take labels; without "
                            "them give --agreement, such as 0.98")
    most = max(config.calibration, task.samples_for("magnitude", "layer", config.recoveries, config.calibration))
    if (samples := task.calibration(most) if config.has_data else None) is None:
        raise SecateurError(f"a search measures on samples: {GIVEN}")
    return samples


def _find(single: SingleCut, model: nn.Module, samples: Calibration, limit: Limit, space: Space,
          progress: Progress) -> SearchResult:
    config, task = single.config, single.task
    goal: Goal = "speed" if config.goal == "speed" else "size"
    items = [with_steps(item, config.distil_steps) for item in recoveries(config.recoveries)]
    with torch_threads(config.threads):
        return find(model, samples, limit, goal, space, recovery=items, skip=task.all_skipped(config.skip),
                    outputs=task.outputs, batch=next(iter(single.timing.batches), 1), seed=config.seed,
                    seconds=config.latency_seconds, progress=progress)


def _finish(single: SingleCut, model: nn.Module, found: SearchResult, samples: int) -> CutNetwork:
    """Measure and write what was found."""
    made, trial = found.made, Trial(model, single.task)
    plan = made.plan or trial.selection(single.point.in_float32).whole()
    stages = made.recovered.stages if made.recovered else ()
    notes = (*made.few_rows(), *made.left_out(), *made.removal_notes)
    remarks = (*found.remarks, *((_TRAINING,) if single.task.labelled_samples else ()))
    done = measure_and_write(single, trial, Steps(plan, made.whole, made.quantized, stages, notes, samples,
                                                  replace(found, remarks=remarks)))
    return replace(done, notes=(*_missed(done, found.limit), *done.notes))


def _missed(done: CutNetwork, limit: Limit) -> tuple[str, ...]:
    """That the limit does not hold on the test samples, where that is so."""
    before, after = done.before.accuracy, done.after.accuracy
    if limit.max_loss is None or before is None or after is None:
        loss = limit.loss(done.closeness)
        return () if limit.allows(loss) else (f"on samples that decided nothing the agreement is {loss.value:.4f}, "
                                              f"below {limit.agreement:g}",)
    lost = 100 * (before - after)
    return () if limit.is_met(lost) else (f"on the test samples, which decided nothing, it loses {lost:.2f} points, "
                                          f"more than {limit.max_loss:g}: give more samples (--calibration), or a "
                                          "lower limit",)
