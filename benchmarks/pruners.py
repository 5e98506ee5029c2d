"""Torch-Pruning and torch-kirigami on the networks of ``benchmarks/structures.py``, each result checked.

A peer's cut is right where its network gives, in float64, the outputs of the original with the removed
units masked (means, variances and norms over what stays). What was kept is found by value: every
parameter gets differing values first, so that a removed row is recognised.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

RIGHT = 1e-5
QUERIES = ("q", "k", "v", "qkv", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin",
           "query_proj", "key_proj", "value_proj", "c_attn", "in_proj", "qkv_proj", "query_key_value", "to_qkv")
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "num_key_value_heads", "num_kv_heads", "kv_heads",
         "heads")
WIDTHS = ("all_head_size", "embed_dim", "inner_dim", "attn_dim", "dim", "hidden_size", "split_size")
HEAD_SIZES = ("head_dim", "attention_head_size", "dim_head", "d_kv", "key_value_proj_dim")


def torch_pruning(model: nn.Module, example: Any) -> dict[str, Any]:
    """Torch-Pruning as its README says: half of everything, the output layers left out."""
    return checked(model, example, lambda work, outputs: pruned(work, example, outputs, {}, {}))


def torch_pruning_heads(model: nn.Module, example: Any) -> dict[str, Any]:
    """Torch-Pruning told how many heads each projection has, attributes repaired as its examples do."""
    return with_heads(model, example, {})


def torch_pruning_whole_heads(model: nn.Module, example: Any) -> dict[str, Any]:
    """As :func:`torch_pruning_heads`, whole heads removed and their size kept."""
    whole = {"prune_num_heads": True, "prune_head_dims": False, "head_pruning_ratio": 0.5}
    return with_heads(model, example, whole)


def with_heads(model: nn.Module, example: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A cut that knows the heads, of networks in which attention is recognised."""
    if not projections(model):
        return {"error": "no attention recognised"}
    return checked(model, example, lambda work, outputs: pruned(work, example, outputs, projections(work), options))


def pruned(work: nn.Module, example: Any, outputs: set[str], heads: dict[nn.Module, int],
           options: dict[str, Any]) -> nn.Module:
    """A network cut by Torch-Pruning in place."""
    import torch_pruning as tp

    ignored = [m for n, m in work.named_modules() if n in outputs]
    more = {"num_heads": heads, **options} if heads else {}
    pruner = tp.pruner.BasePruner(work, example, tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=0.5,
                                  ignored_layers=ignored, **more)
    pruner.step()
    if heads:
        repair(work, pruner.num_heads)
    return work


def projections(model: nn.Module) -> dict[nn.Module, int]:
    """The projections of every attention module that says how many heads it has."""
    found: dict[nn.Module, int] = {}
    for module in model.modules():
        counts = [getattr(o, k) for k in HEADS for o in (module, getattr(module, "config", None))
                  if isinstance(getattr(o, k, None), int)]
        for name, child in module.named_children() if counts else ():
            if name in QUERIES and isinstance(child, nn.Linear):
                few = name.startswith(("k", "v")) and len(counts) > 1
                found[child] = min(counts) if few else max(counts)
    return found


def repair(model: nn.Module, heads: dict[nn.Module, int]) -> None:
    """Set what attention modules remember: heads, their size, their width."""
    for module in model.modules():
        own = [(n, c) for n, c in module.named_children() if c in heads]
        if not own:
            continue
        name, first = own[0]
        width = first.out_features // (3 if name in ("qkv", "c_attn", "qkv_proj", "query_key_value", "to_qkv") else 1)
        values = {**dict.fromkeys(HEADS, heads[first]), **dict.fromkeys(WIDTHS, width),
                  **dict.fromkeys(HEAD_SIZES, width // heads[first])}
        for key, value in values.items():
            if isinstance(vars(module).get(key), int):
                setattr(module, key, value if "key_value" not in key and "kv" not in key else heads[own[-1][1]])


def torch_kirigami(model: nn.Module, example: Any) -> dict[str, Any]:
    """torch-kirigami as its README says, to half of the parameters."""
    from torch_kirigami import DependencyGraph
    from torch_kirigami.pruning import Greedy, GroupMagnitude, ParameterBudget, Pruner

    def prune(work: nn.Module, _: set[str]) -> nn.Module:
        given = {"kwargs": example} if isinstance(example, dict) else {
            "args": example if isinstance(example, tuple) else (example,)}
        pruner = Pruner(work, graph=DependencyGraph.build(work, **given))
        half = ParameterBudget(max_params=count(work) // 2)
        small, _ = pruner.prune(pruner.discover_candidates(), budget=half, strategy=Greedy(GroupMagnitude(p=2)))
        return small

    return checked(model, example, prune)


def count(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in model.parameters())


def checked(model: nn.Module, example: Any, prune: Callable[[nn.Module, set[str]], nn.Module]) -> dict[str, Any]:
    """Cut with another library and compare with the masked original."""
    from secateur import graph
    from secateur.graph.cut import surgery
    from secateur.graph.proof import double, oracles

    structure = graph.trace(model.eval(), example)
    trace = structure.trace
    with torch.no_grad():
        for name, tensor in surgery.stored(model).items():
            tensor.copy_(trace.stirred(trace.flow.names[name], tensor))
    work = copy.deepcopy(model)
    start = time.perf_counter()
    small = prune(work, output_layers(model, structure))
    row: dict[str, Any] = {"s": time.perf_counter() - start, "removed": 1 - count(small) / count(model)}
    captured = trace.captured
    with torch.no_grad():
        small(*captured.args, **captured.kwargs)
    want, whole = masked(model, small, trace)
    got = double.eager_outputs(small.double(), captured.args, captured.kwargs)
    if [g.shape for g in got] != [w.shape for w in want]:
        return row | {"error": "the outputs have other shapes"}
    error = oracles.distance(got, want)
    verdict = "right" if error < RIGHT else "wrong" if whole or not grouped(trace) else "unchecked"
    return row | {"error_of_outputs": min(error, 1e9), "verdict": verdict}


def grouped(trace: Any) -> bool:
    """Whether a network has channels in groups, of which other ones may be kept in each."""
    return any("groups" in found for found in trace.flow.notes.values())


def output_layers(model: nn.Module, structure: Any) -> set[str]:
    """The layers that make the outputs; of tied weights the layer that uses them last, not the embedding."""
    names = set(structure.outputs)
    for tied in structure.tied:
        modules = {name.rpartition(".")[0] for name in tied}
        if modules & names:
            names |= modules
    return {n for n in names if not isinstance(model.get_submodule(n), nn.Embedding)}


def masked(model: nn.Module, small: nn.Module, trace: Any) -> tuple[list[Tensor], bool]:
    """The outputs of the original with zeros where a peer removed something, statistics over what stays; and
    whether it removed whole units."""
    from secateur.graph.proof import double, reference
    from secateur.graph.proof import masked as blanked

    rows = kept_rows(model, small, trace)
    keeps, whole = kept_units(rows, trace)
    blank = blanked.Masked(trace.flow, keeps, lambda _, t: double.double(t))

    def stored(name: str, tensor: Tensor) -> Tensor:
        value = blank.stored(name, tensor).clone()
        for axis in range(value.ndim):
            if (name, axis) in rows:
                value.index_fill_(axis, (~rows[name, axis]).nonzero().flatten(), 0)
        return value

    return reference.run(model, trace.captured, trace.flow, stored, blank.call), whole


def kept_rows(model: nn.Module, small: nn.Module, trace: Any) -> dict[tuple[str, int], Tensor]:
    """What was kept along every axis of every parameter, found by its values."""
    after, found = dict(small.named_parameters(remove_duplicate=False)), {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if name in after and name in trace.flow.stored and after[name].shape != tensor.shape:
            there = torch.isin(tensor.detach(), after[name].detach())
            for axis in range(tensor.ndim):
                if after[name].shape[axis] != tensor.shape[axis]:
                    share = there.movedim(axis, 0).reshape(tensor.shape[axis], -1).float().mean(1)
                    found[name, axis] = share > share.max() / 2
    return found


def kept_units(rows: dict[tuple[str, int], Tensor], trace: Any) -> tuple[dict[int, Tensor], bool]:
    """What was kept of every leaf whose tensors were cut by whole units, and whether all were."""
    from secateur.graph.groups import leaves
    from secateur.types import Member

    axes, keeps = trace.flow.axes, {}
    for leaf, slices in leaves(trace.flow).items():
        for name, axis, place in slices:
            if (name, axis) in rows:
                size = axes.sizes[leaf]
                at = Member(name, axis, "", size, place.offset, place.loops, place.inner).positions()
                keep = rows[name, axis][at].any(1)
                keeps[leaf] = keeps.get(leaf, torch.ones(size, dtype=torch.bool)) & keep
    keeps = {leaf: keep for leaf, keep in keeps.items() if not keep.all()}
    for leaf in [*keeps]:
        places = [(n, a) for n, a, _ in leaves(trace.flow)[leaf] if (n, a) in rows]
        if any(not torch.equal(axes.mask(trace.flow.stored[n].axes[a], keeps), rows[n, a]) for n, a in places):
            del keeps[leaf]
    stored = trace.flow.stored
    return keeps, all(torch.equal(axes.mask(stored[n].axes[a], keeps), kept) for (n, a), kept in rows.items())
