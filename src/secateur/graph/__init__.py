"""A network's structure: which tensors can be pruned, and which axes must be cut together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from secateur.core.errors import UnsupportedError
from secateur.core.module_state import cache_configs, evaluating
from secateur.core.modules import stored_tensors
from secateur.core.types import Cut, Structure
from secateur.graph import capture, partial
from secateur.graph.analysis import analyse
from secateur.graph.check import check_copied, check_whole
from secateur.graph.cut import cut, repair, surgery
from secateur.graph.cut.cut import Removal
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.graph.cut.optimizer import carry_optimizer
from secateur.graph.cut.sizes import Sizes
from secateur.graph.example import examples, inputs
from secateur.graph.flow import OUTPUT
from secateur.graph.proof.dead_units import UNFELT, with_unfelt
from secateur.graph.proof.oracles import prove_groups
from secateur.graph.targets import targets
from secateur.graph.weight_norms import keep_norms

__all__ = ["OUTPUT", "UNFELT", "Removal", "carry_optimizer", "check_whole", "inputs", "remove", "targets", "trace",
           "trace_outputs"]

_WITHOUT_CACHE = ("traced with config.use_cache=False, because a graph cannot hold a cache of keys and values; the "
                  "cut network keeps the original's setting")


def trace(model: nn.Module, example: Any, inner: bool = False) -> Structure:
    """Export a network once and find which axes must be cut together.

    Args:
        model: any module that ``torch.export`` takes.
        example: one input, a tuple of inputs, or a dict of keyword inputs; or a list of such examples, of which
            each is traced, for code that takes another path for other inputs.
        inner: also offer the inner one of two free factors of one axis, such as the size of heads.

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: neither the network nor a part of it can be exported; the message carries the reason.
    """
    check_copied(model)
    notes = (_WITHOUT_CACHE,) if cache_configs(model) else ()
    with evaluating(model):
        check_whole(model)
        try:
            graphs = [capture.capture(model, one) for one in examples(example)]
        except UnsupportedError as why:
            return partial.trace_parts(model, example, inner, why)
        structure = with_unfelt(model, analyse(model, graphs, inner))
        return replace(structure, notes=(*structure.notes, *notes))


def trace_outputs(model: nn.Module, example: Any) -> Structure:
    """Trace a network as a whole for its output layers alone: nothing is run to find units that do not matter.

    Raises:
        SecateurError: the example does not run on the network.
        UnsupportedError: it cannot be exported as a whole.
    """
    check_copied(model)
    with evaluating(model):
        return analyse(model, [capture.capture(model, one) for one in examples(example)])


def remove(model: nn.Module, cuts: Sequence[Cut], structure: Structure | None = None, prove: bool = True) -> Removal:
    """Remove the units that the cuts do not keep from a copy of the network.

    Args:
        model: the network that was traced; it is not changed, whatever happens.
        cuts: what stays of each group.
        structure: the structure that the groups come from; without its trace nothing can be proved.
        prove: check the grouping by permutation and the result against the masked original, in float64.

    Raises:
        SecateurError: a cut that cannot be made, or a structure without its trace where a proof is asked for.
        UnsupportedError: the cut network is not proved; nothing is returned.
    """
    # The cut is made and proved in evaluation mode; every module of the result then gets the mode of its original.
    modes, cached = {name: module.training for name, module in model.named_modules()}, cache_configs(model)
    with evaluating(model):
        removal = _remove_in_evaluation(model, cuts, structure, prove)
    for name, module in removal.network.named_modules():
        module.training = modes.get(name, False)
        if name in cached:
            module.config.use_cache = True
    for module in (m for m in removal.network.modules() if isinstance(m, ExportedNetwork)):
        module.eval()
    return removal


def _remove_in_evaluation(model: nn.Module, cuts: Sequence[Cut], structure: Structure | None, prove: bool) -> Removal:
    """As :func:`remove`, for a network in evaluation mode."""
    trace = structure.trace if structure is not None else None
    if isinstance(trace, partial.Parts):
        return partial.cut_parts(model, cuts, trace)
    if prove and structure is not None and trace is not None:
        if not trace.proved:
            prove_groups(model, trace, structure.groups)
        return cut.cut_and_prove(model, cuts, trace)
    masks = surgery.masks(model, cuts)
    small = surgery.sliced_copy(model, masks)
    keep_norms(stored_tensors(small), model, masks, lambda _, t, pick: pick(t.detach()))
    repair.repair_known(small)
    if trace is not None:
        for one in trace.graphs:
            repair.repair_traced(small, one, Sizes(trace.flow, cut.keeps_of(cuts, trace)))
    return Removal(small)
