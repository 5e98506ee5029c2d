"""From cuts to a proved network: the module itself where its class allows it, the cut graph otherwise."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating
from secateur.core.modules import stored_tensors
from secateur.core.types import Cut
from secateur.graph.cut import graphs, repair, surgery
from secateur.graph.cut.masked_original import Zeroed
from secateur.graph.cut.sizes import Sizes
from secateur.graph.cut.training import Training
from secateur.graph.example import double_batch
from secateur.graph.proof.float64 import eager_outputs, give_back
from secateur.graph.proof.oracles import LIMIT, Trace, distance, masked_outputs
from secateur.graph.proof.perturb import round_to_float32
from secateur.graph.weight_norms import held_wide, keep_norms

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Removal:
    """A network without the units that a cut removed.

    ``notes`` say what had to be set in it besides its tensors, or that it is the cut graph in place of its class.
    """

    network: nn.Module
    notes: tuple[str, ...] = ()


def keeps_of(cuts: Sequence[Cut], trace: Trace) -> dict[int, Tensor]:
    """What stays of each leaf."""
    return {trace.leaf_of[cut.name]: cut.keep.cpu() for cut in cuts}


def fill(small: dict[str, Tensor], model: nn.Module, kept: surgery.Masks,
         change: Callable[[str, Tensor, Callable[[Tensor], Tensor]], Tensor]) -> None:
    """Write sliced tensors into a small network, one at a time, as ``change`` gives them."""
    done: set[int] = set()
    for name, tensor in stored_tensors(model).items():
        if name in small and id(small[name]) not in done:
            done.add(id(small[name]))
            mask = kept.get(name, {})
            small[name].data = change(name, tensor, lambda t, mask=mask: surgery.slice_tensor(t, mask))  # type: ignore[misc]
    keep_norms(small, model, kept, change)


def cut_and_prove(model: nn.Module, cuts: Sequence[Cut], trace: Trace) -> Removal:
    """The cut network, proved to be the original without the removed units.

    Raises:
        UnsupportedError: neither the module nor the graph gives the right outputs.
    """
    kept, keeps = surgery.masks(model, cuts), keeps_of(cuts, trace)
    sizes = Sizes(trace.flow, keeps)
    want = masked_outputs(model, trace, keeps)
    names = trace.flow.names
    failures: list[str] = []
    training, untrained = Training(model, trace.captured), ""
    zeroed = Zeroed(model, trace, keeps, want)
    base = surgery.sliced_copy(model, kept)
    tensors, wide = stored_tensors(base), held_wide(model)
    fill(tensors, model, kept, lambda n, t, pick: round_to_float32(trace.stirred(names[n], t, pick), t, n in wide))
    for small, notes, attempt in candidates(model, base, cuts, trace, sizes):
        why = refusal(small, trace, want)
        if not why and notes and graphs.ONE_SHAPE not in notes[0] and not _takes_two(model, small, trace, want):
            why = "it does not take twice the batch, which the network does"
        if not why and attempt is not None and notes and blind(model, trace, keeps, want):
            why = ("the outputs for this example depend neither on what goes nor on what stays; give an example, or a "
                   "network in a state, in which they do")
        if not why and attempt is not None and (untrained := training.failure(small)):
            why = f"in train mode it does not run, as the network does: {untrained}"
        if not why and attempt is not None:
            why = zeroed.other_batch(small)
        if attempt is None and zeroed.path:
            raise UnsupportedError(f"the cut of {type(model).__name__} is not proved: {zeroed.path}")
        if why:
            log.debug("attempt failed: %s", why)
            failures.append(why)
            continue
        if attempt is not None:
            attempt.shrink(lambda cut=small: not (refusal(cut, trace, want) or training.failure(cut)  # type: ignore[misc]
                                                  or zeroed.other_batch(cut)))
            told = zeroed.training(small)
            notes = [*attempt.told, told] if told else attempt.told
        elif untrained:
            notes = [f"{notes[0]}; train mode of the cut code fails: {untrained}"]
        fill(tensors, model, kept, lambda _, t, pick: pick(t.detach()))
        surgery.refresh(small)
        return Removal(small, tuple(notes))
    where = _find_culprit(model, cuts, trace)
    raise UnsupportedError(f"the cut of {type(model).__name__} is not proved{where}: {failures[-1]}")


def blind(model: nn.Module, trace: Trace, keeps: dict[int, Tensor], want: Sequence[Tensor]) -> bool:
    """Whether the outputs feel neither what goes nor what stays of the groups, so that equal outputs say nothing."""
    whole = trace.outputs(model, trace.stirred)
    if distance(want, whole) > 0:
        return False
    return distance(masked_outputs(model, trace, {leaf: ~keep for leaf, keep in keeps.items()}), whole) == 0


def refusal(small: nn.Module, trace: Trace, want: Sequence[Tensor]) -> str:
    """Why a cut network is not proved: it does not run, or gives other outputs than it must; "" if it is."""
    try:
        got = [t for c in trace.every for t in eager_outputs(small, c.args, c.kwargs)]
    except Exception as failure:
        traceback.clear_frames(failure.__traceback__)
        told = readable(failure)
    else:
        error = distance(got, want)
        return "" if error <= LIMIT else f"the outputs differ by {error:.1e} of their size, allowed {LIMIT:g}"
    give_back()
    return told


def _takes_two(model: nn.Module, small: nn.Module, trace: Trace, want: Sequence[Tensor]) -> bool:
    """Whether a cut network gives the same outputs for the example twice over, if the network takes that at all."""
    args, kwargs = double_batch((trace.captured.args, trace.captured.kwargs))
    try:
        got = eager_outputs(small, args, kwargs)
    except Exception:
        got = []
    pairs = [(g[:len(w)], w) for g, w in zip(got, want, strict=False)
             if w.ndim and g.shape[:1] == (2 * len(w),) and g.shape[1:] == w.shape[1:]]
    if got and distance([g for g, _ in pairs], [w for _, w in pairs]) <= LIMIT:
        return True
    try:
        with evaluating(model), torch.no_grad():
            model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    except Exception:
        return True
    return False


def _find_culprit(model: nn.Module, cuts: Sequence[Cut], trace: Trace) -> str:
    """The first group that cannot be cut alone, with its operator and line, as a clause."""
    for cut in cuts if len(cuts) > 1 else ():
        try:
            cut_and_prove(model, [cut], trace)
        except UnsupportedError:
            cuts = [cut]
            break
    if len(cuts) > 1:
        return ", though each group alone is"
    operator = trace.operator_of(cuts[0].group) if cuts[0].group else ""
    return f" at group '{cuts[0].name}'" + (f", {operator}" if operator else "")


def candidates(model: nn.Module, small: nn.Module, cuts: Sequence[Cut], trace: Trace,
               sizes: Sizes) -> Iterator[tuple[nn.Module, list[str], repair.Assignment | None]]:
    """Cut networks to try: attributes repaired in ever bolder ways, then the cut graph. All share their tensors."""
    repair.repair_known(small)
    for one in trace.every:
        repair.repair_traced(small, one, sizes)
    tried: set[tuple[str, ...]] = set()
    for broad, names in ((False, repair.NAMED), (True, repair.NAMED), (False, repair.ANY), (True, repair.ANY)):
        slots = repair.slots(small, repair.evidence(trace.every, sizes, broad), names)
        for chosen in repair.attempts(slots):
            attempt = repair.Assignment(small).make(chosen)
            if tuple(attempt.told) not in tried:
                tried.add(tuple(attempt.told))
                yield small, attempt.told, attempt
            attempt.undo()
    if not trace.more:
        yield from ((cut, notes, None) for cut, notes in graphs.graphs(model, small, cuts, trace, sizes))
