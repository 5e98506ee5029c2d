"""The verbs: plan, apply and recover in one call."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur import files
from secateur.core.bounds import above, whole
from secateur.core.choices import Goal
from secateur.core.errors import FewSamplesWarning, LeftOutWarning, RuinousCutWarning, SecateurError, UnsupportedError
from secateur.core.module_state import untouched
from secateur.core.modules import Plain, keep_marks, same_modes
from secateur.core.types import Plan
from secateur.data.calibration import Calibration, calibration, samples_of_example
from secateur.experiment.search.limit import Limit
from secateur.experiment.search.search import find, warn_of
from secateur.experiment.search.space import BITS, GRID, KINDS, Space, several
from secateur.graph.check import check_module
from secateur.measure.agreement import agreement
from secateur.measure.comparison import Comparison, Figures
from secateur.measure.flops import flops_of
from secateur.measure.ruin import ruin_of
from secateur.measure.size import has_zeroed_weights, size
from secateur.measure.speed import Speed, speeds
from secateur.pruning.apply import apply
from secateur.pruning.arguments import refuse_wrong_arguments
from secateur.pruning.checks import REFIT, underdetermined_layers
from secateur.pruning.criteria.base import CriterionChoice
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.plan import make_plan
from secateur.pruning.scopes import ScopeChoice
from secateur.pruning.spec import PruningSpec, spec_from
from secateur.quantization.ranges import Ranges
from secateur.quantization.settings import Activations, BitsChoice, Int8, KeepChoice, Rounding, bits_of
from secateur.recovery import pipeline
from secateur.recovery.given import plan_of_zeros
from secateur.recovery.methods.base import RecoveryResult
from secateur.recovery.pipeline import (
    RecoveryChoice,
    check_criterion_is_used,
    check_recoveries,
    default_recovery,
    kinds_of,
    recoveries,
)
from secateur.recovery.quantizing import check_bits, quantized
from secateur.runtime.base import Compiled
from secateur.runtime.timing import Timing, time_cut, time_until_quiet


@refuse_wrong_arguments
def prune(model: nn.Module, sparsity: float | None = None, *, granularity: GranularityChoice | None = None,
          criterion: CriterionChoice = None, scope: ScopeChoice = "layer", recovery: RecoveryChoice | None = None,
          skip: Sequence[str | nn.Module] | None = None, layers: Mapping[str, Any] | None = None, data: Any = None,
          example: Any = None, bits: BitsChoice | None = None, seed: int = 0, spec: PruningSpec | None = None,
          max_loss: float | None = None, agreement: float | None = None, goal: Goal | None = None) -> nn.Module:
    """Cut a network and win accuracy back; the model that is passed in stays as it is.

    ``prune(model, 0.9, data=inputs)`` sets 90% of the weights to zero and fits the rest to the original's outputs.
    ``prune(model, 0.5, granularity="neuron", data=inputs)`` removes half of the neurons: a smaller network.
    ``prune(model, max_loss=0.5, data=(inputs, labels))`` looks for the smallest network that loses at most 0.5 points.

    Args:
        model: any module.
        sparsity: the fraction removed, in [0, 1). Left out where it follows: from N:M, a budget's amount, or a limit.
        granularity: what one item is: ``"weight"`` (by default), ``"neuron"``, blocks such as ``"4x1"`` (outputs x
            inputs), N:M such as ``"2:4"``; or an item, ``Neuron(round_to=8)``, ``Block(1, 4, pooling="max")``.
        criterion: what an item is worth: a name, ``pkg.module:name``, a criterion, or a function of weight and signals.
            By default ``magnitude`` for weights; for neurons ``elimination`` with data, ``l2`` without.
        scope: which items compete, or how much each layer loses: ``"layer"``, ``"global"``, ``"erk"``, ``"lamp"``,
            ``"owl"``, ``"sensitivity"``, ``"budget"``; or an item, ``Global(max_sparsity=0.95)``, ``Budget(ms=2.5)``.
        recovery: what wins accuracy back: a name, an item such as ``Finetune(epochs=3)``, or a list, done in its order.
            By default ``"best"`` with data, which needs no labels (``["reconstruct", "distil"]``, which keep what was
            chosen, where you give the criterion of single weights), and ``"none"`` without.
        skip: what stays whole beside the output layer, and beside layers that are frozen where others learn: names,
            regular expressions or modules; ``()`` cuts all.
        layers: from a module's name or a regular expression to its sparsity, or to a mapping with any of ``sparsity``,
            ``granularity``, ``min_sparsity``, ``max_sparsity``, ``skip``.
        data: inputs as a tensor or NumPy array, a pair (inputs, labels), :class:`Samples`, or an iterable of batches.
        example: one input, a tuple of inputs or a dict of them; needed to cut neurons unless ``data`` is given.
        bits: in how many bits the cut network computes: 32 (by default), 16 or 8, or ``Int8(...)``, see
            :func:`quantize`.
        seed: for what draws at random.
        spec: all but model, sparsity, data and example as one :class:`PruningSpec`, in place of them.
        max_loss, agreement: what may be lost, in place of a sparsity: points of accuracy with labels, or the agreement
            of the outputs without. Sparsity, granularity and bits that are not given are then searched as
            :func:`search` does, which also shows what was tried.
        goal: what such a search looks for: ``"size"`` (by default) or ``"speed"``.

    Returns:
        A new network: zeros in place of the weights, or without the neurons.

    Warns:
        OutputLayerWarning: it is not known which layer makes the outputs, so that it is cut, too.
        FewSamplesWarning: a layer was refitted to fewer rows of data than it has inputs.
        LeftOutWarning: a layer, or the whole network, stays as the cut left it, with the reason.
        RuinousCutWarning: the outputs for data, or else the example, are hardly nearer to the original's than a
            constant would be; the message says what to try. Without data and example nothing is run, so that a ruinous
            cut is not seen.
        CutGraphWarning: as :func:`secateur.apply`.

    Raises:
        SecateurError: a value that is not allowed; the message says what is.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> int((prune(net, 0.75)[0].weight == 0).sum())
    9
    """
    check_module("prune", model)
    if max_loss is not None or agreement is not None:
        _check_searched(criterion=criterion, scope=None if scope == "layer" else scope, layers=layers, spec=spec,
                        example=example)
        found = find(model, calibration(data), Limit(max_loss, agreement), goal or "size",
                     Space(several(sparsity, GRID), several(granularity, KINDS), several(bits, BITS)),
                     recovery=recovery, skip=skip, seed=seed)
        warn_of(found, 4)
        return found.network
    if goal is not None:
        raise SecateurError(f"prune: goal {goal!r} without a search; it goes with max_loss or agreement")
    granularity, bits = "weight" if granularity is None else granularity, 32 if bits is None else bits
    chosen = spec_from(spec, "prune", granularity=granularity, criterion=criterion, scope=scope, recovery=recovery,
                       skip=skip, layers=layers, bits=bits, seed=seed)
    samples = calibration(data)
    check_bits(model, chosen.bits, samples)
    kinds = kinds_of(chosen.granularity_item, chosen.layers)
    usual = default_recovery(chosen.criterion is not None, kinds) if samples else ("none",)
    items = recoveries(chosen.recovery if chosen.recovery is not None else usual)
    check_recoveries(items, samples)
    check_criterion_is_used(chosen.criterion, items, kinds,
                            chosen.granularity_item.criterion(samples is not None))
    made = make_plan(model, sparsity, chosen, samples, example)
    with torch.inference_mode(False), untouched(model):
        result = pipeline.recover(model, apply(model, made), made, items, samples, chosen.seed)
        _warn(model, result, (samples or samples_of_example(example)) if made.removed else None)
        cut = keep_marks(model, result.network)
        return cut if bits_of(chosen.bits) == 32 else _in_bits(cut, chosen.bits, samples, chosen.seed)


def _check_searched(**given: Any) -> None:
    """Refuse what a search does not take.

    Raises:
        SecateurError: the message names it.
    """
    if beside := [name for name, value in given.items() if value is not None]:
        raise SecateurError(f"prune: got {', '.join(beside)} with max_loss or agreement; a search takes sparsity, "
                            "granularity, bits, recovery, skip, data, seed and goal beside them")


@refuse_wrong_arguments
def quantize(model: nn.Module, data: Any = None, *, bits: BitsChoice = 8, activations: Activations = "static",
             ranges: Ranges = "mse", rounding: Rounding = "compensated", keep: KeepChoice = "auto",
             seed: int = 0) -> nn.Module:
    """A network in eight or sixteen bits; the model that is passed in stays as it is.

    Its linear, convolutional, recurrent and embedding layers compute as an int8 engine would, to the bit of their sums:
    weights are codes with a scale for each output, inputs of layers become codes in each call. It is a plain module for
    measuring what that costs, and for files and engines that run it fast; by itself it is no faster. Weights that are
    zero stay zero, so that a cut network may be given.

    Args:
        model: any module, cut or not.
        data: inputs without labels, as :func:`prune` takes them; needed for static ranges.
        bits: 8, or 16: weights and products in bfloat16.
        activations: ``"static"``: one range for all inputs of a layer, from ``data``; ``"dynamic"``: the range of each
            row of each call.
        ranges: how a static range follows from what a layer reads: ``"mse"`` (the least squared error of rounding),
            ``"minmax"``, or ``"percentile"`` (99.99 %).
        rounding: ``"compensated"``: each weight is rounded so that it makes up for those rounded before and for the
            layers before (Behdin et al., *QuantEase*, 2023), where there is data; ``"nearest"``.
        keep: what stays in float32: names, expressions or modules, ``()`` for nothing; ``"auto"`` takes back the layers
            that lose most, until 99 % of the rows of outputs have their greatest value in the same place (of other
            outputs the mean cosine is 0.99, of outputs of one value 99 % of the variance is explained).
        seed: for the draw of values that ranges follow from.

    Returns:
        A new network. Batch norms are folded into the layers before them, where there is data.

    Warns:
        LeftOutWarning: layers that stay in float32, with the reason.

    Raises:
        SecateurError: static ranges without data, NaN or infinite values that a layer reads, a network that is
            quantised already, or none of whose layers can be quantised.

    >>> net, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), torch.rand(256, 8)
    >>> small = quantize(net, x)
    >>> small[0].codes.dtype, bool((small(x) - net(x)).abs().max() < 0.05 * net(x).abs().max())
    (torch.int8, True)
    """
    check_module("quantize", model)
    settings: Any = bits
    if bits_of(bits) == 32:
        raise SecateurError(f"quantize: bits {bits!r}: allowed are 8 (int8) and 16 (bfloat16)")
    given = Int8(activations=activations, ranges=ranges, rounding=rounding, keep=keep)
    if bits == 8:
        settings = given
    elif given != Int8():
        raise SecateurError(f"quantize: bits {bits!r} and settings of int8; allowed are these with bits=8, or one "
                            "Int8(...) with all of them")
    samples = calibration(data)
    with untouched(model):
        return _in_bits(model, settings, samples, seed)


def _in_bits(network: nn.Module, bits: BitsChoice, samples: Calibration | None, seed: int) -> nn.Module:
    """A network in fewer bits, with a warning of what stays as it is."""
    made = quantized(network, bits, samples, seed)
    for note in made.notes(network):
        warnings.warn(note, LeftOutWarning, stacklevel=4)
    return keep_marks(network, made.network)


@refuse_wrong_arguments
def recover(model: nn.Module, pruned: nn.Module, *, data: Any, recovery: RecoveryChoice | None = None,
            plan: Plan | None = None, seed: int = 0) -> nn.Module:
    """Win accuracy back for a network that is cut already: by a :class:`secateur.Pruner`, by :func:`secateur.apply`, or
    elsewhere. Neither network is changed.

    Args:
        model: the network before the cut.
        pruned: the cut network, with the layers of ``model``: zeros in weights, or a network that ``plan`` made.
        data: as in :func:`prune`.
        recovery: as in :func:`prune`. By default ``"best"`` with a plan, and ``["reconstruct", "distil"]``, which keep
            the zeros where they are, without.
        plan: what was cut; without it, what is zero in the weights of layers counts as cut.
        seed: for what draws at random.

    Returns:
        A new network, recovered; what was cut stays cut.

    Warns:
        FewSamplesWarning, LeftOutWarning, RuinousCutWarning: as :func:`prune`.

    Raises:
        SecateurError: no data, a value that is not allowed, or without a plan a recovery that would choose itself which
            weights go.

    >>> net, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), torch.rand(256, 8)
    >>> zeroed = prune(net, 0.5)
    >>> again = recover(net, zeroed, data=x)
    >>> bool((again[0].weight[zeroed[0].weight == 0] == 0).all())
    True
    """
    for network in (model, pruned):
        check_module("recover", network)
    samples = calibration(data)
    if samples is None:
        raise SecateurError("recover: data is None; allowed is inputs, a pair (inputs, labels), or batches of them")
    made = plan or plan_of_zeros(pruned)
    usual = default_recovery(plan is None, kinds_of(made.granularity))
    items = recoveries(recovery if recovery is not None else usual)
    check_recoveries(items, samples)
    if plan is None and (choosing := [item for item in items if item.chooses(kinds_of(made.granularity))]):
        raise SecateurError(f"recover: recovery {pipeline.name_of(choosing[0])} chooses itself which weights go, which "
                            "takes the plan of the cut: give plan=, or recovery=['reconstruct', 'distil'], which keep "
                            "the zeros where they are")
    with torch.inference_mode(False), untouched(model):
        result = pipeline.recover(model, copy.deepcopy(pruned), made, items, samples, seed)
    _warn(model, result, samples if made.removed else None)
    return keep_marks(pruned, result.network)


def _warn(model: nn.Module, result: RecoveryResult, shown: Calibration | None) -> None:
    """Warn of what a recovery could not do, and where samples are shown of a ruin."""
    for note in underdetermined_layers(result.rows, REFIT):
        warnings.warn(note, FewSamplesWarning, stacklevel=4)
    for note in result.notes:
        warnings.warn(note, LeftOutWarning, stacklevel=4)
    if shown and (told := ruin_of(model, result.network, shown)):
        warnings.warn(told, RuinousCutWarning, stacklevel=4)


def compare(model: nn.Module, small: nn.Module, data: Any, *, batches: Sequence[int] = (1, 64),
            seconds: float = 1.0) -> Comparison:
    """A network and what a cut made of it side by side: what the cut costs, and what it buys on this machine.

    Neither network is changed. Both are run in evaluation mode; the times are those of the CPU, in interleaved rounds.
    Where weights of ``small`` are zero it is timed compiled, as :func:`secateur.compile` gives it.

    Args:
        model: the network before the cut.
        small: the network after it, not compiled.
        data: what both are run on: inputs ``(samples, ...)`` as a tensor or an array, a pair (inputs, labels),
            :class:`Samples`, or an iterable of batches. With labels that are classes the accuracy is measured too.
        batches: the batch sizes that are timed; none where it is empty.
        seconds: what timing takes at each batch size.

    Returns:
        A frozen value; ``print`` shows it as a table: accuracy, equal classes (not for a regression), cosine and
        relative error of the outputs, parameters, bytes in a file, FLOPs of one sample, and milliseconds. Noisy timings
        are measured again for at most half of their time; those that stay noisy are marked, with the reason.

    Raises:
        SecateurError: a network that is none or is compiled, no data, a batch size below 1, or a network
            that does not run on the data.

    >>> net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    >>> found = compare(net, prune(net, 0.5), torch.rand(100, 8), batches=())
    >>> found.before.nonzeros, found.after.nonzeros, found.agreement.samples
    (82, 58, 100)
    >>> print(compare(net, net, torch.rand(100, 8), batches=()))
                               before    after
    outputs, same class          100%     100%  100 samples
    outputs, cosine                 1   1.0000  100 samples
    outputs, relative error         0   0.0000  100 samples
    parameters                     82       82         100%
    not zero                       82       82         100%
    bytes, saved              1... kB  1... kB         100%
    FLOPs, zeros not counted      144      144         100%
    """
    for one in (model, small):
        if isinstance(one, Compiled):
            raise SecateurError("compare: got a compiled network; compare the network that it was compiled from, which "
                                "is compiled here to be timed")
        check_module("compare", one)
    samples = calibration(data)
    if samples is None:
        raise SecateurError("compare: data is None; allowed is inputs, a pair (inputs, labels), or batches of them")
    if not isinstance(batches, Sequence) or not all(whole(1).allows(batch) for batch in batches):
        got = list(batches) if isinstance(batches, Sequence) else batches
        raise SecateurError(f"compare: batches {got!r}; allowed are whole numbers from 1 on, as a list, or none: ()")
    if not above(0).allows(seconds):
        raise SecateurError(f"compare: seconds {seconds!r}; allowed is a number above 0")
    near = agreement(model, small, samples)
    was, now = near.accuracy or (None, None)
    latency, notes = _latency(model, small, samples, Timing(tuple(map(int, batches)), float(seconds), 0, ""))
    return Comparison(_figures(model, was, samples), _figures(small, now, samples), near, latency, notes)


def _figures(network: nn.Module, accuracy: float | None, samples: Calibration) -> Figures:
    found = size(network)
    return Figures(accuracy, found["parameters"], found["nonzeros"], files.file_bytes(network),
                   flops_of(network, samples.example(), zeros=True))


def _latency(model: nn.Module, small: nn.Module, samples: Calibration,
             timing: Timing) -> tuple[dict[str, tuple[float, Speed]], tuple[str, ...]]:
    """For each batch size the original's seconds and the cut network's speed; why it could not be compiled."""
    first = next(iter(samples)).to("cpu")

    def inputs(count: int) -> tuple[Any, ...]:
        return tuple(v[torch.arange(count) % len(v)] if isinstance(v, Tensor) and v.ndim else v for v in first.inputs)

    if not timing.batches:
        return {}, ()
    notes: tuple[str, ...] = ()
    with same_modes(model), same_modes(small):
        old, new = (Plain(one, first.names).eval() for one in (model, small))
        try:
            found = time_until_quiet(lambda again: time_cut(old, new, has_zeroed_weights(small), inputs, again,
                                                            type(small).__name__), timing)
        except UnsupportedError as error:
            notes = (f"the zeros are timed like other numbers, as the network cannot be compiled: {error}",)
            found = time_until_quiet(lambda again: time_cut(old, new, False, inputs, again, type(small).__name__),
                                     timing)
    return speeds(found), notes
