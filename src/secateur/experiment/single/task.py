"""The network and the data that the settings of one cut name, as a task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.data.calibration import samples_of_example
from secateur.data.datasets.base import Dataset
from secateur.data.samples import GIVEN, HeldOutSamples, read
from secateur.experiment.combinations import sample_readers
from secateur.experiment.point import Point
from secateur.experiment.single.config import CutConfig
from secateur.experiment.task import LabelledTask, Task, UnlabelledTask, check_network
from secateur.graph.check import check_weights
from secateur.models import resolve
from secateur.models.loaders.base import Kind, Source
from secateur.pruning.granularity import resolve as resolve_granularity
from secateur.pruning.layer_rules import resolve_skip
from secateur.runtime.timing import Timing

HELD = "no labels were given: outputs are compared with the original's, on held-out samples"


@dataclass(frozen=True, eq=False)
class SingleCut:
    """One network that is to be cut once.

    Attributes:
        config: the settings.
        kind: the kind of network.
        source: where the network comes from.
        task: the network with its data.
        notes: what a reader has to know of network and data.
    """

    config: CutConfig
    kind: Kind
    source: Source
    task: Task
    notes: tuple[str, ...]

    @property
    def point(self) -> Point:
        """How it is cut.

        Raises:
            SecateurError: something looks at samples, and there are none.
        """
        return self.config.point(self.task.all_skipped(self.config.skip), self._samples())

    @property
    def timing(self) -> Timing:
        """How it is timed: at the only batch size that the network takes, where there is one."""
        timing, only = self.config.timing, self.source.batch
        takes_one = only and timing.batches and isinstance(self.task, UnlabelledTask)
        return replace(timing, batches=(only,)) if takes_one else timing

    def _samples(self) -> int:
        """How many samples are shown."""
        config = self.config
        readers = sample_readers(config.chosen_criterion, config.scope, config.recoveries)
        readers += ["bits 8, for the ranges of its activations,"] * (config.bits == 8)
        if readers and not config.has_data:
            raise SecateurError(f"{' and '.join(readers)} without samples: {GIVEN}; only recovery none with the "
                                "default criterion and scope in 32 or 16 bits needs no samples")
        return self.task.samples_for(config.chosen_criterion, config.scope, config.recoveries, config.calibration)


def open_cut(config: CutConfig) -> SingleCut:
    """The network and the data that the settings name.

    Raises:
        SecateurError: they cannot be had, or do not fit each other.
    """
    # A factory may need the shape of the data, so a source is made without them only where it is asked for.
    kind, source = resolve.kind_of(config.model), cache(partial(_source, config))
    if not config.chosen_data:
        return _open_unlabelled(config, kind, source(), None)
    samples = read(config.chosen_data, lambda: source().encode, source().batch if kind.suffix == ".pt2" else 0)
    if isinstance(samples, HeldOutSamples):
        return _open_unlabelled(config, kind, source(), samples)
    return _open_labelled(config, kind, source(samples), samples)


def _source(config: CutConfig, data: Dataset | None = None) -> Source:
    """Where the network comes from, made for the data where they are known."""
    shape, classes = (data.shape, data.classes) if data else ((), 0)
    return resolve.find(config.model, Options(factory=config.factory, weights=config.weights, example=config.example,
                                              trust=config.trust, shape=shape, classes=classes))


def _open_labelled(config: CutConfig, kind: Kind, source: Source, data: Dataset) -> SingleCut:
    assumption = "" if config.data else f"no --data was given, so {config.chosen_data} was used"
    # The source puts the weights in when it makes the network; the task is not to do so again.
    own = replace(config, weights="")
    try:
        check_network(own, source.make, data, config.model)
    except SecateurError as error:
        if not assumption:
            raise
        raise SecateurError(f"{error}; {assumption}: give --data, or --example pkg.module:name") from error
    task = LabelledTask(own, source.make, data, config.training,
                        needs_groups=resolve_granularity(config.granularity).needs_example)
    notes = (f"{assumption}: choose other data with --data",) if assumption else ()
    return SingleCut(config, kind, source, task, (*source.notes, *notes))


def _open_unlabelled(config: CutConfig, kind: Kind, source: Source, samples: HeldOutSamples | None) -> SingleCut:
    if config.epochs:
        raise SecateurError(f"epochs {config.epochs} without labelled data: training needs labels; to train without "
                            "labels after the cut, use a recovery")
    torch.manual_seed(config.seed)
    model = source.make().to(config.device).eval()
    check_weights(model)
    resolve_skip(model, config.skip or ())
    samples = samples or _example_alone(config, source)
    task = UnlabelledTask(model, samples, resolve_granularity(config.granularity).needs_example)
    return SingleCut(config, kind, source, task, (*source.notes, samples.note or HELD))


def _example_alone(config: CutConfig, source: Source) -> HeldOutSamples:
    """The example of the source as the only samples."""
    if source.example is None:
        raise SecateurError(f"model '{config.model}' does not state its inputs: give --data, or --example "
                            "pkg.module:name")
    example, origin = source.example, f" (drawn at random: {source.drawn})" if source.drawn else ""
    one = samples_of_example(example)
    assert one is not None
    return HeldOutSamples(one, one, f"no --data: the outputs were compared on example inputs only{origin}, which says "
                                    "little about the quality of the cut network; no criterion or recovery used "
                                    "samples")
