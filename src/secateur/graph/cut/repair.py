"""Sets what modules remember of their shape after a cut: known attributes by their meaning, others by evidence.

Evidence is what the traced graph says: in this module's forward, a call was given the size 64, and after
the cut it must be given 32. An attribute (or an entry of a configuration) that holds the old size is set
to the new one; where both an old and a new size fit, the choices are tried, most likely first.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from secateur.graph.capture import FlatGraph
from secateur.graph.cut import surgery
from secateur.graph.cut.attention import CutAttention
from secateur.graph.cut.sizes import Sizes, module_of
from secateur.graph.rules.base import TensorAxes

_STANDARD = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.modules.batchnorm._NormBase, nn.RNNBase,
             nn.RNNCellBase, nn.LayerNorm, nn.GroupNorm, nn.MultiheadAttention)
# How many assignments are tried of each kind of evidence: every one runs the whole network in float64.
_MOST = 12
_SIZES = re.compile(r"dim|size|width|channel|features|hidden|inner|embed|d_model|units|planes|filters|rank|split|head$"
                    r"|heads|normalized_shape|n_embd|^d_|^c_|^nx$|^nf$|^dh$|_c$|^c$|groups")
_NOT_SIZES = re.compile(r"token|vocab|layers|expert|per_tok|window|patch|kernel|stride|image|position|_id$"
                        r"|key_value_groups|batch|chunk|img|grid|label|kv_groups|depth|_ratio|dilation|padding")
NAMED = re.compile(rf"^(?!.*(?:{_NOT_SIZES.pattern})).*(?:{_SIZES.pattern})")
ANY = re.compile("")

_Evidence = dict[str, Counter[tuple[int, int]]]


@dataclass(frozen=True)
class Slot:
    """One size that a module remembers: where, its value, and what it may have to be, most likely first."""

    owner: str
    holder: str
    key: str
    old: Any
    choices: tuple[Any, ...]

    @property
    def kind(self) -> tuple[str, str, str]:
        """Slots of one kind are decided together: the same attribute of the same sort of module."""
        return self.owner, self.key, str(self.old)

    @property
    def in_config(self) -> bool:
        """Whether a configuration holds it, which several modules may share."""
        return f".{self.holder}".endswith(".config")


def repair_known(model: nn.Module) -> None:
    """Set the attributes of modules whose meaning is known, from the shapes of their tensors."""
    surgery.refresh(model)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = (int(n) for n in module.weight.shape)
        elif isinstance(module, nn.Embedding):
            module.num_embeddings, module.embedding_dim = module.weight.shape
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            first = module.weight if module.weight is not None else module.running_mean
            module.num_features = module.num_features if first is None else first.shape[0]
        elif isinstance(module, nn.RNNBase):
            _repair_recurrent(module)
        elif isinstance(module, nn.RNNCellBase):
            module.hidden_size, module.input_size = module.weight_hh.shape[1], module.weight_ih.shape[1]
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, nn.PReLU):
            module.num_parameters = module.weight.shape[0]
        elif type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
            vars(module).update(zip(("nx", "nf"), module.get_parameter("weight").shape, strict=True))


def _repair_recurrent(module: nn.RNNBase) -> None:
    """The sizes of a recurrent network, from its weights."""
    rows, module.input_size = module.get_parameter("weight_ih_l0").shape
    module.hidden_size = rows // {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    if module.proj_size:
        module.proj_size = module.get_parameter("weight_hr_l0").shape[0]


def repair_traced(model: nn.Module, graph: FlatGraph, sizes: Sizes) -> None:
    """Set what the traced calls say of standard modules: groups, channels, heads."""
    for node in graph.nodes:
        module = find(model, module_of(node)) if node.op == "call_function" else None
        new = {c.argument: c.new for c in sizes.changes(node)} if module is not None else {}
        if isinstance(module, nn.modules.conv._ConvNd):
            module.groups = new.get("groups", module.groups)
            whole = module.groups if module.transposed else 1
            module.out_channels = module.weight.shape[1 if module.transposed else 0] * whole
            module.in_channels = module.weight.shape[0 if module.transposed else 1] * (module.groups // whole)
        elif isinstance(module, nn.GroupNorm):
            module.num_groups = new.get("num_groups", module.num_groups)
            value = sizes.flow.values[node]
            module.num_channels = sizes.of(value.axes[1]) if isinstance(value, TensorAxes) else module.num_channels
        elif isinstance(module, nn.LayerNorm) and "normalized_shape" in new:
            module.normalized_shape = tuple(new["normalized_shape"])
        elif isinstance(module, nn.MultiheadAttention):
            _repair_attention(module)


def _repair_attention(module: nn.MultiheadAttention) -> None:
    """Give attention a forward that allows for other heads than its width, where heads were cut."""
    module.embed_dim = module.out_proj.weight.shape[0]
    inner = module.out_proj.weight.shape[1]
    module.out_proj.in_features = inner
    module.kdim = module.kdim if module.k_proj_weight is None else module.k_proj_weight.shape[1]
    module.vdim = module.vdim if module.v_proj_weight is None else module.v_proj_weight.shape[1]
    if module._qkv_same_embed_dim:
        module.kdim = module.vdim = module.embed_dim
    if inner != module.num_heads * module.head_dim or inner != module.embed_dim:
        module.num_heads = inner // module.head_dim
        module._qkv_same_embed_dim = False
        if isinstance(module, CutAttention) or type(module) is nn.MultiheadAttention:
            module.__class__ = CutAttention


def find(model: nn.Module, path: str) -> nn.Module | None:
    """The module at a path, if the copy still has one there."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def evidence(graphs: Iterable[FlatGraph], sizes: Sizes, broad: bool = False) -> _Evidence:
    """For each module, the sizes given to calls in its forward, before and after the cut, with how often.

    ``broad`` counts the axes of all values in the forward besides the sizes written into calls.
    """
    evidence: _Evidence = defaultdict(Counter)
    for node in (n for one in graphs for n in one.nodes if n.op == "call_function"):
        pairs = [*_written_sizes(sizes, node), *(_axis_sizes(sizes, node) if broad else ())]
        if pairs := [(old, new) for old, new in pairs if old > 1]:
            evidence[module_of(node)].update(pairs)
    return evidence


def _written_sizes(sizes: Sizes, node: fx.Node) -> Iterator[tuple[int, int]]:
    """Pairs of plain numbers from the explicit sizes of a call."""
    for change in sizes.changes(node):
        old, new = change.old, change.new
        if change.argument == "chunks":
            continue
        if isinstance(old, int):
            yield from ((old, n) for n in (new if isinstance(new, list) else [new]))
        elif isinstance(old, (list, tuple)):
            yield from ((o, n) for o, n in zip(old, new, strict=False) if isinstance(o, int) and isinstance(n, int))


def _axis_sizes(sizes: Sizes, node: fx.Node) -> Iterator[tuple[int, int]]:
    """Pairs of sizes of the axes that a call makes and takes, where a cut reaches them."""
    for value in (sizes.flow.values.get(n) for n in (node, *node.all_input_nodes)):
        for axis in value.axes if isinstance(value, TensorAxes) else ():
            if sizes.of(axis) != sizes.flow.axes.sizes[axis]:
                yield sizes.flow.axes.sizes[axis], sizes.of(axis)


def slots(model: nn.Module, evidence: _Evidence, names: re.Pattern[str]) -> list[Slot]:
    """Every attribute of a matching name that holds a size which the evidence says may change."""
    slots: list[Slot] = []
    for path, sizes in evidence.items():
        module = find(model, path)
        if module is not None and not isinstance(module, _STANDARD):
            owner = type(module).__name__
            slots += [slot for key, value in vars(module).items()
                      if names.search(key) and (slot := _slot_for(owner, path, key, value, sizes))]
    return slots + _config_slots(model, evidence, names)


def _config_slots(model: nn.Module, evidence: _Evidence, names: re.Pattern[str]) -> list[Slot]:
    """The sizes in configurations: one slot where all modules that share one agree, one a module where not."""
    paths_of: dict[int, list[str]] = defaultdict(list)
    for path in evidence:
        config = getattr(find(model, path), "config", None)
        if config is not None and hasattr(config, "__dict__"):
            paths_of[id(config)].append(path)
    slots: list[Slot] = []
    for paths in paths_of.values():
        config = getattr(find(model, paths[0]), "config", None)
        pool = sum((evidence[p] for p in paths), Counter[tuple[int, int]]())
        for key, value in vars(config).items():
            if not names.search(key):
                continue
            common = _slot_for(type(config).__name__, f"{paths[0]}.config", key, value, pool)
            if common is None or len(common.choices) == 1:
                own = [common]
            else:
                own = [_slot_for(type(config).__name__, f"{p}.config", key, value, evidence[p]) for p in paths]
            slots += [slot for slot in own if slot]
    return slots


def _slot_for(owner: str, holder: str, key: str, value: Any, sizes: Counter[tuple[int, int]]) -> Slot | None:
    """A slot for an attribute that holds an old size (or a list of them), if one may change."""
    if isinstance(value, (tuple, list)) and value and all(type(v) is int for v in value):
        choices: list[Any] = [type(value)(c) if type(value) is not torch.Size else torch.Size(c)
                              for c in itertools.islice(itertools.product(*(_rank(key, v, sizes) for v in value)), 4)]
    elif type(value) is int:
        choices = _rank(key, value, sizes)
    else:
        return None
    return Slot(owner, holder, key, value, tuple(choices)) if choices != [value] else None


def _rank(key: str, old: int, sizes: Counter[tuple[int, int]]) -> list[int]:
    """What an old size may become, most likely first: names of one head's size stay as they are."""
    options = {new: count for (before, new), count in sizes.items() if before == old} or {old: 1}
    stays = "head_dim" in key or "head_size" in key or "dim_head" in key
    return sorted(options, key=lambda new: ((new == old) != stays, -options[new]))


def attempts(slots: list[Slot]) -> Iterator[list[tuple[Slot, Any]]]:
    """Assignments to try, the most likely first; slots of one kind are decided together."""
    kinds = list(dict.fromkeys(s.kind for s in slots if len(s.choices) > 1))
    options = {k: max((s.choices for s in slots if s.kind == k), key=len) for k in kinds}
    ranks = itertools.islice(itertools.product(*(range(len(options[k])) for k in kinds)), _MOST)
    for choice in sorted(ranks, key=sum):
        rank = dict(zip(kinds, choice, strict=True))
        yield [(s, s.choices[min(rank.get(s.kind, 0), len(s.choices) - 1)]) for s in slots]
