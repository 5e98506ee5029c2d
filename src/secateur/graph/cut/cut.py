"""From cuts to a proved network: the module itself where its class allows it, the cut graph otherwise."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating
from secateur.core.modules import stored_tensors
from secateur.core.types import Cut
from secateur.graph.cut import graphs, repair, surgery
from secateur.graph.cut.assignment import Assignment
from secateur.graph.cut.masked_original import ZeroedCopy
from secateur.graph.cut.meaning import Meanings
from secateur.graph.cut.sizes import Sizes
from secateur.graph.cut.training import Training
from secateur.graph.example import double_batch
from secateur.graph.proof.float64 import eager_outputs, give_back
from secateur.graph.proof.oracles import LIMIT, Trace, distance, masked_outputs
from secateur.graph.proof.perturb import round_to_float32
from secateur.graph.weight_norms import keep_norms, names_held_wide

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


def fill(small: dict[str, Tensor], model: nn.Module, masks: surgery.Masks,
         change: Callable[[str, Tensor, Callable[[Tensor], Tensor]], Tensor]) -> None:
    """Write sliced tensors into a small network, one at a time, as ``change`` gives them."""
    done: set[int] = set()
    for name, tensor in stored_tensors(model).items():
        if name in small and id(small[name]) not in done:
            done.add(id(small[name]))
            mask = masks.get(name, {})
            small[name].data = change(name, tensor, lambda t, mask=mask: surgery.slice_tensor(t, mask))  # type: ignore[misc]
    keep_norms(small, model, masks, change)


def cut_and_prove(model: nn.Module, cuts: Sequence[Cut], trace: Trace) -> Removal:
    """The cut network, proved to be the original without the removed units.

    Raises:
        UnsupportedError: neither the module nor the graph gives the right outputs.
    """
    masks, keeps = surgery.masks(model, cuts), keeps_of(cuts, trace)
    proof = _Proof(model, trace, keeps)
    base = surgery.sliced_copy(model, masks)
    tensors, wide, names = stored_tensors(base), names_held_wide(model), trace.flow.names
    fill(tensors, model, masks, lambda n, t, pick: round_to_float32(trace.perturb(names[n], t, pick), t, n in wide))
    failures: list[str] = []
    sizes = Sizes(trace.flow, keeps)
    meanings = Meanings(trace, sizes, cuts)
    for small, notes, attempt in _candidates(model, base, cuts, trace, sizes):
        why = proof.refusal(small, notes, own_code=attempt is not None)
        if attempt is None and proof.zeroed.path:
            raise UnsupportedError(f"the cut of {type(model).__name__} is not proved: {proof.zeroed.path}")
        if why:
            log.debug("attempt failed: %s", why)
            failures.append(why)
            continue
        if attempt is not None:
            attempt.shrink(partial(proof.holds, small), meanings.is_clear)
            notes = [*attempt.notes, *filter(None, [proof.zeroed.training(small)])]
        elif proof.untrained:
            notes = [f"{notes[0]}; train mode of the cut code fails: {proof.untrained}"]
        fill(tensors, model, masks, lambda _, t, pick: pick(t.detach()))
        surgery.refresh(small)
        return Removal(small, tuple(notes))
    where = _find_culprit(model, cuts, trace)
    raise UnsupportedError(f"the cut of {type(model).__name__} is not proved{where}: {failures[-1]}")


class _Proof:
    """What cut networks are held against: the masked graph, and the original's own code with the units at zero.

    ``untrained`` says why the last one that ran in train mode failed there.
    """

    def __init__(self, model: nn.Module, trace: Trace, keeps: dict[int, Tensor]):
        self.model, self.trace, self.keeps = model, trace, keeps
        self.want = masked_outputs(model, trace, keeps)
        self.training, self.untrained = Training(model, trace.first), ""
        self.zeroed = ZeroedCopy(model, trace, keeps, self.want)

    def refusal(self, small: nn.Module, notes: Sequence[str], own_code: bool) -> str:
        """Why a cut network is not proved; "" if it is. ``own_code``: it runs the network's code, not its graph."""
        return next(filter(None, self._refusals(small, notes, own_code)), "")

    def holds(self, small: nn.Module) -> bool:
        """Whether a network that was proved with more attributes set is still right."""
        return not self.refusal(small, (), own_code=True)

    def _refusals(self, small: nn.Module, notes: Sequence[str], own_code: bool) -> Iterator[str]:
        yield self._wrong_outputs(small)
        if notes and graphs.ONE_SHAPE not in notes[0] and not self._takes_two(small):
            yield "it fails at twice the batch size, where the network runs"
        if not own_code:
            if not self.zeroed.is_traced:
                yield ("its code and its trace give different outputs; does the code check torch.is_grad_enabled() or "
                       "torch.compiler.is_compiling()?")
            if not self.zeroed.repeats(small):
                yield "its code counts its calls, or keeps other state between calls that a graph cannot hold"
            return
        if notes and self._is_blind:
            yield ("for this example, the outputs depend on neither the removed nor the kept units; pass an example, "
                   "or a network in a state, for which they do")
        self.untrained = self.training.failure(small)
        yield f"it fails in train mode, where the network runs: {self.untrained}" if self.untrained else ""
        yield self.zeroed.other_batch(small)

    def _wrong_outputs(self, small: nn.Module) -> str:
        """How the outputs differ from what they must be, or why there are none; "" if they are right."""
        try:
            got = [t for c in self.trace.graphs for t in eager_outputs(small, c.args, c.kwargs)]
        except Exception as failure:
            # The frames hold tensors in float64: without them, the memory of this attempt is free for the next one.
            traceback.clear_frames(failure.__traceback__)
            why = readable(failure)
        else:
            error = distance(got, self.want)
            return "" if error <= LIMIT else f"the outputs differ by {error:.1e} (relative), allowed {LIMIT:g}"
        give_back()
        return why

    @cached_property
    def _is_blind(self) -> bool:
        """Whether the outputs feel neither what goes nor what stays of the groups, so that equal outputs say nothing.
        """
        whole = self.trace.outputs(self.model, self.trace.perturb)
        if distance(self.want, whole) > 0:
            return False
        opposite = {leaf: ~keep for leaf, keep in self.keeps.items()}
        return distance(masked_outputs(self.model, self.trace, opposite), whole) == 0

    def _takes_two(self, small: nn.Module) -> bool:
        """Whether a cut network gives the same outputs for the example twice over, if the network takes that at all."""
        args, kwargs = double_batch((self.trace.first.args, self.trace.first.kwargs))
        try:
            got = eager_outputs(small, args, kwargs)
        except Exception:
            got = []
        pairs = [(g[:len(w)], w) for g, w in zip(got, self.want, strict=False)
                 if w.ndim and g.shape[:1] == (2 * len(w),) and g.shape[1:] == w.shape[1:]]
        if got and distance([g for g, _ in pairs], [w for _, w in pairs]) <= LIMIT:
            return True
        try:
            with evaluating(self.model), torch.no_grad():
                self.model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
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


def _candidates(model: nn.Module, small: nn.Module, cuts: Sequence[Cut], trace: Trace,
                sizes: Sizes) -> Iterator[tuple[nn.Module, list[str], Assignment | None]]:
    """Cut networks to try: attributes repaired in ever bolder ways, then the cut graph. All share their tensors."""
    repair.repair_known(small)
    for one in trace.graphs:
        repair.repair_traced(small, one, sizes)
    notes: set[tuple[str, ...]] = set()
    for broad, names in ((False, repair.NAMED), (True, repair.NAMED), (False, repair.ANY), (True, repair.ANY)):
        slots = repair.slots(small, repair.evidence(trace.graphs, sizes, broad), names)
        for choice in repair.attempts(slots):
            attempt = Assignment(small).make(choice)
            if tuple(attempt.notes) not in notes:
                notes.add(tuple(attempt.notes))
                yield small, attempt.notes, attempt
            attempt.undo()
    if len(trace.graphs) == 1:
        yield from ((cut, notes, None) for cut, notes in graphs.graphs(model, small, cuts, trace, sizes))
