"""Models that cannot be cut as they stand: half-applied states, each told in one line."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.unflatten import UnflattenedModule

from secateur.core.errors import SecateurError
from secateur.graph.quantised import check_plain

_EXPORTED = ("give the network that was exported, or save the program and load it as layers with "
             "secateur.models.network('FILE.pt2', trusted=True)")
_LAYOUT = {nn.Linear: ("out_features", "in_features"), nn.Embedding: ("num_embeddings", "embedding_dim")}


def check_module(call: str, model: Any) -> None:
    """Refuse what is no network, or holds the graph of one in place of its layers.

    Raises:
        SecateurError: it is no module, or comes from ``torch.export``; ``call`` is what it was given to.
    """
    if isinstance(model, ExportedProgram):
        raise SecateurError(f"{call}: got an ExportedProgram: {_EXPORTED}")
    if not isinstance(model, nn.Module):
        raise SecateurError(f"{call}: got {type(model).__name__} as model, allowed: a torch.nn.Module")
    for name, module in model.named_modules():
        # torch takes train() and eval() away from what ExportedProgram.module() gives.
        fixed = isinstance(module, fx.GraphModule) and "eval" in vars(module)
        if fixed or isinstance(module, UnflattenedModule):
            where = f"module '{name}'" if name else "the network"
            raise SecateurError(f"{call}: {where} is a graph from torch.export, which has no layers or train/eval "
                                f"modes: {_EXPORTED}")


def check_whole(model: nn.Module) -> None:
    """Refuse a network whose state is between two others.

    Raises:
        SecateurError: pruning masks that are not made permanent, parameters on the meta device or not yet
            initialised, parameters of another shape than their module says, or compiled code instead of Python.
    """
    for name, module in model.named_modules():
        where = f"module '{name}'" if name else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise SecateurError(f"{where} is a {type(module).__name__}, compiled code: prune the network that it was "
                                "made from")
        if masks := [k.removesuffix("_mask") for k in module._buffers if k.endswith("_mask") and
                     f"{k.removesuffix('_mask')}_orig" in module._parameters]:
            raise SecateurError(f"{where} holds a pending mask of torch.nn.utils.prune on '{masks[0]}': make it "
                                f"permanent with torch.nn.utils.prune.remove(module, '{masks[0]}') first")
        for kind, parameter in module._parameters.items():
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise SecateurError(f"{where} is not initialised: run it once on an input, so that '{kind}' gets a "
                                    "shape")
            if parameter is not None and parameter.device.type == "meta":
                raise SecateurError(f"{where} holds '{kind}' on the meta device: load its values first")
        shape = _shape_by_attributes(module)
        weight = getattr(module, "weight", None)
        if shape and isinstance(weight, torch.Tensor) and tuple(weight.shape) != shape:
            raise SecateurError(f"{where} declares a weight of shape {list(shape)}, but its weight has "
                                f"{list(weight.shape)}: a replaced parameter or a half-applied cut; set the module's "
                                "attributes to match")


def check_weights(model: nn.Module) -> None:
    """Refuse a network whose weights cannot be scored, naming the tensor.

    Raises:
        SecateurError: quantised or sparse weights, NaN or infinite values.
    """
    check_plain(model)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            bad = int((~torch.isfinite(parameter)).sum())
            raise SecateurError(f"parameter '{name}' holds {bad} NaN or infinite values of {parameter.numel()}")


def check_copied(model: nn.Module) -> None:
    """Refuse a wrapper of distributed training.

    Raises:
        SecateurError: it cannot be copied.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise SecateurError("the network is wrapped in DistributedDataParallel, which cannot be copied: prune its "
                            ".module and wrap the result")


def _shape_by_attributes(module: nn.Module) -> tuple[int, ...]:
    """The shape of the weight that a module's attributes say, of the classes that say it."""
    for kind, names in _LAYOUT.items():
        if type(module) is kind:
            return tuple(getattr(module, n) for n in names)
    if isinstance(module, nn.modules.conv._ConvNd) and type(module) in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.weight is not None:
        return (module.num_features,)
    return ()
