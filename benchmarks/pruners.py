"""Torch-Pruning and torch-kirigami on the networks of ``benchmarks/structures.py``; ``verdict.py`` checks each result.

Every parameter gets differing values first, so that what a peer kept is recognised by its values. The limit on
CPU time holds for the peer's own work; a failure before or after it is not the peer's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from child import OutOfTime, limited, stage
from torch import nn
from verdict import judged

QUERIES = ("q", "k", "v", "qkv", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin",
           "query_proj", "key_proj", "value_proj", "c_attn", "in_proj", "qkv_proj", "query_key_value", "to_qkv")
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "num_key_value_heads", "num_kv_heads", "kv_heads",
         "heads")
WIDTHS = ("all_head_size", "embed_dim", "inner_dim", "attn_dim", "dim", "hidden_size", "split_size")
HEAD_SIZES = ("head_dim", "attention_head_size", "dim_head", "d_kv", "key_value_proj_dim")


def torch_pruning(model: nn.Module, example: Any, limit: float) -> dict[str, Any]:
    """Torch-Pruning as its README says: half of everything, the output layers left out."""
    return checked(model, example, lambda work, outputs: pruned(work, example, outputs, {}, {}), limit)


def torch_pruning_heads(model: nn.Module, example: Any, limit: float) -> dict[str, Any]:
    """Torch-Pruning told how many heads each projection has, attributes repaired as its examples do."""
    return with_heads(model, example, {}, limit)


def torch_pruning_whole_heads(model: nn.Module, example: Any, limit: float) -> dict[str, Any]:
    """As :func:`torch_pruning_heads`, whole heads removed and their size kept."""
    whole = {"prune_num_heads": True, "prune_head_dims": False, "head_pruning_ratio": 0.5}
    return with_heads(model, example, whole, limit)


def with_heads(model: nn.Module, example: Any, options: dict[str, Any], limit: float) -> dict[str, Any]:
    """A cut that knows the heads, of networks in which attention is recognised."""
    if not projections(model):
        return {"error": "no attention recognised"}
    return checked(model, example, lambda work, outputs: pruned(work, example, outputs, projections(work), options),
                   limit)


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


def torch_kirigami(model: nn.Module, example: Any, limit: float) -> dict[str, Any]:
    """torch-kirigami as its README says, to half of the parameters; a network that it cannot take is not checked."""
    from torch_kirigami import DependencyGraph
    from torch_kirigami.pruning import Greedy, GroupMagnitude, ParameterBudget, Pruner

    given = {"kwargs": example} if isinstance(example, dict) else {
        "args": example if isinstance(example, tuple) else (example,)}

    def prune(work: nn.Module, _: set[str]) -> nn.Module:
        pruner = Pruner(work, graph=DependencyGraph.build(work, **given))
        half = ParameterBudget(max_params=count(work) // 2)
        small, _ = pruner.prune(pruner.discover_candidates(), budget=half, strategy=Greedy(GroupMagnitude(p=2)))
        return small

    row, _ = attempted(copy.deepcopy(model), set(), lambda work, _: DependencyGraph.build(work, **given), limit)
    if "error" in row or "limit_s" in row:
        return row
    return checked(model, example, prune, limit)


def count(model: nn.Module, names: set[str] | None = None) -> int:
    """How many numbers a network learns, in the parameters of some names."""
    named = model.named_parameters(remove_duplicate=names is None)
    return sum(p.numel() for n, p in named if names is None or n in names)


Prune = Callable[[nn.Module, set[str]], nn.Module]


def checked(model: nn.Module, example: Any, prune: Prune, limit: float) -> dict[str, Any]:
    """Cut with another library and compare with the masked original."""
    from secateur import SecateurError, graph

    stage("trace")
    try:
        structure = graph.trace(model.eval(), example)
    except SecateurError:
        structure = None
    trace = structure.trace if structure else None
    if hasattr(trace, "graphs"):
        stir(model, trace)
    row, small = attempted(copy.deepcopy(model), output_layers(model, structure), prune, limit)
    if small is None:
        return row
    names = {n for n, _ in model.named_parameters()}
    row |= {"traced": True, "removed": 1 - count(small, names) / count(model)}
    stage("run")
    try:
        with torch.no_grad():
            run(small, copy.deepcopy(example))
    except Exception as error:
        return row | {"error": told(error), "stage": "run"}
    stage("check")
    try:
        return row | judged(model, small, trace)
    except Exception as error:
        return row | {"verdict": "unchecked", "why": told(error)}


def attempted(work: nn.Module, outputs: set[str], prune: Prune, limit: float) -> tuple[dict[str, Any], Any]:
    """What the library's own work took and gave; no network where it failed or ran out of time."""
    row: dict[str, Any] = {"stage": "prune"}
    size = sum(t.numel() * t.element_size() for t in [*work.parameters(), *work.buffers()])
    spent: dict[str, Any] = {}
    small = None
    try:
        with limited("prune", limit) as spent:
            small = prune(work, outputs)
        row["stage"] = "done"
    except OutOfTime:
        row["limit_s"] = limit
    except Exception as error:
        row["error"] = told(error)
    return row | {"s": spent["s"], "peak": spent["peak_bytes"] / size, "bytes": size}, small


def told(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}"[:300]


def run(model: nn.Module, example: Any) -> Any:
    """Call a network on its example."""
    if isinstance(example, dict):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def stir(model: nn.Module, trace: Any) -> None:
    """Give every parameter and buffer values that differ, so that attention is not uniform and rows are recognised."""
    from secateur.core.modules import stored_tensors

    with torch.no_grad():
        for name, tensor in stored_tensors(model).items():
            tensor.copy_(trace.perturb(trace.flow.names[name], tensor))


def output_layers(model: nn.Module, structure: Any) -> set[str]:
    """The layers that make the outputs; of tied weights the layer that uses them last, not the embedding.

    Where the network cannot be traced, the last linear layer.
    """
    names = set(structure.outputs) if structure else set()
    if not names:
        return {n for n, m in model.named_modules() if isinstance(m, nn.Linear)} and {
            [n for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]}
    for tied in structure.tied:
        modules = {name.rpartition(".")[0] for name in tied}
        if modules & names:
            names |= modules
    return {n for n in names if not isinstance(model.get_submodule(n), nn.Embedding)}
