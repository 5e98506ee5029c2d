"""The operators that the graph of a ``.pt2`` may call: those of files of secateur, and a few that only torch writes."""

from __future__ import annotations

from secateur.core.errors import SecateurError
from secateur.files.native.program.operators import NAMES, operation

_SIZES = {f"{target.__module__}.{target.__name__}" for target in NAMES} | {
    "_operator.pos", "math.trunc", "torch.sym_ite"} | {f"torch.{name}" for name in NAMES.values() if "sym_" in name}
_NESTED = {f"torch.ops.higher_order.{name}" for name in ("cond", "wrap_with_set_grad_enabled", "wrap_with_autocast")}
_PRIMS = {f"torch.ops.prims.{name}.default" for name in ("convert_element_type", "iota", "broadcast_in_dim",
                                                           "view_of")}
NAMED = """
_assert_async _assert_scalar _assert_tensor_metadata as_strided bernoulli empty empty_like empty_strided is_nonzero item
lift _local_scalar_dense multinomial native_dropout new_empty new_empty_strided normal normal_functional rand rand_like
randint randint_like randn randn_like randperm rrelu sym_constrain_range sym_constrain_range_for_size sym_is_contiguous
sym_storage_offset sym_stride uniform bernoulli_ normal_ uniform_ rrelu_ _scaled_dot_product_flash_attention_for_cpu
_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention _native_batch_norm_legit
_native_batch_norm_legit_functional _native_batch_norm_legit_no_stats cudnn_batch_norm miopen_batch_norm
_embedding_bag _embedding_bag_forward_only
"""
_ATEN = frozenset(NAMED.split())


def known(target: str) -> bool:
    """Whether a graph may call an operator: arithmetic, shapes, layers, norms and random numbers; none of them reads or
    writes a file, loads a library, or looks anything up by a name that it is given.

    >>> known("torch.ops.aten.conv2d.default"), known("_operator.mul"), known("torch.ops.aten.from_file.default")
    (True, True, False)
    """
    if target in _SIZES | _NESTED | _PRIMS:
        return True
    first, _, rest = target.partition("torch.ops.aten.")
    if first or not rest or not target.isascii():
        return False
    name, _, overload = rest.partition(".")
    if name in _ATEN:
        return overload.replace("_", "").isalnum() and not overload.endswith("out")
    try:
        operation(f"aten.{rest}")
    except SecateurError:
        return False
    return True
