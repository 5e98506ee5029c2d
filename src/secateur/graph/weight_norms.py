"""Weight and spectral norm after a cut: what is left of a weight is divided by the norm of the whole, as before.

Weight norm (Salimans and Kingma 2016) is ``g v / |v|``: ``g`` takes the ratio of the two norms. Spectral norm (Miyato
et al. 2018) divides by ``u W v``: ``u`` takes it, until the next step of training makes ``u`` anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from secateur.core.errors import UnsupportedError
from secateur.core.modules import stored_tensors

Change = Callable[[str, Tensor, Callable[[Tensor], Tensor]], Tensor]


@dataclass(frozen=True)
class _Norm:
    """One norm of a weight. ``take`` computes it from the tensors named in ``of``.

    The tensor ``scale`` takes the ratio of the norms before and after a cut. Norms differ ``along`` an axis of the
    weight; None where there is one for all.
    """

    of: tuple[str, ...]
    scale: str
    along: int | None
    take: Callable[..., Tensor]


def norms(model: nn.Module) -> Iterator[_Norm]:
    """The weight and spectral norms of a network, torch's older and newer ones."""
    for path, module in model.named_modules():
        dot = f"{path}." if path else ""
        if isinstance(module, ParametrizationList) and len(module) == 1:
            yield from _parametrized_norm(dot, module[0])
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                yield _weight_norm(f"{dot}{hook.name}_v", f"{dot}{hook.name}_g", hook.dim)
            elif isinstance(hook, SpectralNorm):
                names = [f"{dot}{hook.name}_{part}" for part in ("orig", "u", "v")]
                yield _spectral_norm(names, hook.reshape_weight_to_matrix)


def _parametrized_norm(dot: str, module: nn.Module) -> Iterator[_Norm]:
    """The norm that a parametrization takes."""
    if isinstance(module, _WeightNorm):
        yield _weight_norm(f"{dot}original1", f"{dot}original0", module.dim)
    elif isinstance(module, _SpectralNorm) and hasattr(module, "_u"):
        yield _spectral_norm([f"{dot}original", f"{dot}0._u", f"{dot}0._v"], module._reshape_weight_to_matrix)


def _weight_norm(v: str, g: str, dim: int | None) -> _Norm:
    """A norm of all axes but one."""
    along = -1 if dim is None else dim
    return _Norm((v,), g, None if along == -1 else along, lambda w: torch.norm_except_dim(w, 2, along))


def _spectral_norm(names: list[str], matrix: Callable[[Tensor], Tensor]) -> _Norm:
    """The greatest singular value, as its two vectors tell it."""
    return _Norm(tuple(names), names[1], None, lambda w, u, v: torch.vdot(u, torch.mv(matrix(w), v)))


def tensors_with_norm(model: nn.Module) -> set[str]:
    """The names of the tensors whose norms a cut keeps."""
    return {name for norm in norms(model) for name in (*norm.of, norm.scale)}


def names_held_wide(model: nn.Module) -> set[str]:
    """The names of the parameters that a proof holds in float64.

    Norms are taken of them or hold them down, or a parametrization computes with them and its buffers outside a call.
    """
    names = tensors_with_norm(model)
    for path, module in model.named_modules(remove_duplicate=False):
        dot = f"{path}." if path else ""
        if isinstance(module, ParametrizationList):
            names |= {dot + name for name, _ in module.named_parameters(remove_duplicate=False)}
        elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
            names.add(f"{dot}weight")
    return names


def keep_norms(small: dict[str, Tensor], model: nn.Module, masks: dict[str, dict[int, Tensor]], change: Change) -> None:
    """Scale what is left so that it is divided by the norm of the whole; ``change`` gives the whole tensors.

    Raises:
        UnsupportedError: what is left of a weight has no norm, so that nothing can be scaled to the whole one's.
    """
    whole = stored_tensors(model)
    for norm in norms(model):
        if not any(name in masks for name in norm.of):
            continue
        with torch.no_grad():
            before = norm.take(*(change(name, whole[name], lambda t: t) for name in norm.of))
            after = norm.take(*(small[name].detach() for name in norm.of))
            mask = masks.get(norm.of[0], {}).get(norm.along) if norm.along is not None else None
            if norm.along is not None and mask is not None:
                before = before.index_select(norm.along, mask.nonzero().flatten().to(before.device))
            if bool(((after == 0) & (before != 0)).any()):
                raise UnsupportedError(f"the kept part of '{norm.of[0]}' is zero, so the norm of the whole weight "
                                       "cannot be kept: keep other units, or skip the layer")
            ratio = before / after if norm.scale in norm.of else after / before
            small[norm.scale].data = small[norm.scale].data * torch.where((before == 0) | (after == 0), 1.0, ratio)
