"""The operators that a graph in a file may name: arithmetic on tensors and sizes, nothing else.

Left out are what reads or writes anything outside its arguments, memory that nothing was written to, storage set by
hand, randomness, gradients, and everything outside ATen but the products of int8 layers. A name in this list says
nothing about what the operator is given: those of them that have a rule
(:mod:`secateur.files.native.program.rules`) run in any file, all others in files that the caller trusts. In place is
allowed what is allowed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from secateur.core.errors import SecateurError
from secateur.files.native import strict
from secateur.quantization import operators as _int8  # noqa: F401 - makes them known to torch

NAMED = """
abs acos acosh add addbmm addcdiv addcmul addmm addmv all amax amin aminmax any argmax argmin argsort asin asinh atan
atan2 atanh baddbmm bilinear bincount bitwise_and bitwise_not bitwise_or bitwise_xor bmm bucketize cdist ceil celu clamp
clamp_max clamp_min clip complex conj conj_physical cos cosh cosine_similarity count_nonzero cross cummax cummin cumprod
cumsum diff div divide dot einsum elu eq erf erfc erfinv exp exp2 expm1 fix floor floor_divide fmod frac ge gelu ger glu
greater greater_equal gt hardshrink hardsigmoid hardswish hardtanh hypot inner isfinite isin isinf isnan kthvalue le
leaky_relu lerp less less_equal linear log log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp
logical_and logical_not logical_or logical_xor logit logsumexp lt matmul max maximum mean median min minimum mish mm
mode mul multiply mv nan_to_num nanmean nansum ne neg negative norm not_equal outer pairwise_distance polar positive pow
prelu prod real imag reciprocal relu relu6 remainder renorm round rsqrt rsub searchsorted selu sgn sigmoid sign sin sinc
sinh softmax softplus softshrink sort special_expit special_logsumexp sqrt square std std_mean sub subtract sum tan tanh
tensordot threshold topk trapezoid trapz true_divide trunc var var_mean vdot where xlogy linalg_vector_norm
__and__ __lshift__ __or__ __rshift__ __xor__ __iand__ __ior__ _log_softmax _safe_softmax _softmax _prelu_kernel silu

alias arange atleast_1d atleast_2d atleast_3d broadcast_to cat chunk clone concat concatenate constant_pad_nd contiguous
copy detach diag diag_embed diagonal expand expand_as eye fill flatten flip full full_like gather hstack dstack vstack
column_stack index index_add index_copy index_fill index_put index_select lift_fresh_copy linspace logspace masked_fill
masked_scatter masked_select meshgrid moveaxis movedim narrow new_full new_ones new_zeros nonzero one_hot ones ones_like
pad permute adjoint mT mH numpy_T ravel reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d reshape reshape_as roll rot90 scalar_tensor scatter scatter_add
scatter_reduce select select_scatter slice slice_copy slice_scatter split split_copy split_with_sizes squeeze stack
swapaxes swapdims t take take_along_dim tensor_split tile to _to_copy transpose tril tril_indices triu triu_indices
type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view _unsafe_view view_as view_as_complex
view_as_real zero zeros zeros_like sym_numel sym_size hann_window hamming_window _reshape_alias

_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d channel_shuffle col2im
im2col conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution grid_sampler
grid_sampler_2d grid_sampler_3d max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
max_pool3d_with_indices max_unpool2d max_unpool3d pixel_shuffle pixel_unshuffle native_channel_shuffle
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d

batch_norm group_norm instance_norm layer_norm rms_norm native_batch_norm native_group_norm native_layer_norm
_native_batch_norm_legit_no_training _fused_rms_norm _weight_norm _weight_norm_interface alpha_dropout dropout
feature_dropout feature_alpha_dropout embedding embedding_bag scaled_dot_product_attention
gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell

fft_fft fft_fft2 fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_irfft
fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn
"""
_ATEN = frozenset(NAMED.split())
PLAIN: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "truediv": operator.truediv, "mod": operator.mod, "neg": operator.neg, "eq": operator.eq, "ne": operator.ne,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "and_": operator.and_,
    "or_": operator.or_, "sym_max": max, "sym_min": min, "sym_int": int, "sym_float": float, "sym_not": operator.not_}
_TRACED = {operator: ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge",
                      "and_", "or_"), torch: ("sym_max", "sym_min", "sym_int", "sym_float", "sym_not")}
NAMES = {getattr(module, name): name for module, names in _TRACED.items() for name in names}
LARGEST = 2**63
OWN = frozenset({"int8_linear", "int8_conv"})
"""The products of int8 layers (:mod:`secateur.quantization.operators`)."""


def name_of(target: Any) -> str:
    """An operator of a traced graph as a file names it.

    Raises:
        SecateurError: it is none that a file may hold.

    >>> name_of(torch.ops.aten.add.Tensor), name_of(operator.mul)
    ('aten.add.Tensor', 'size.mul')
    """
    if target is operator.getitem:
        return "getitem"
    if target in NAMES:
        return f"size.{NAMES[target]}"
    found = str(target)
    operation(found)
    return found


def is_plain(target: Any) -> bool:
    """Whether a target of a traced graph is arithmetic on sizes, or one of several outputs."""
    return target is operator.getitem or target in NAMES


def operation(name: str) -> Callable[..., Any]:
    """What a name of a file does.

    Raises:
        SecateurError: it is not in the list.
    """
    if name == "getitem":
        return item
    first, _, rest = name.partition(".")
    if first == "size" and rest in PLAIN:
        return Sizes(rest)
    base, _, overload = rest.partition(".")
    if first == "secateur" and base in OWN and overload == "default":
        return getattr(torch.ops.secateur, base).default  # type: ignore[no-any-return]
    if first == "aten" and (base in _ATEN or (base.endswith("_") and base[:-1] in _ATEN)):
        packet = getattr(torch.ops.aten, base, None)
        if packet is not None and overload in packet.overloads():
            found = getattr(packet, overload)
            if not any(a.is_out for a in found._schema.arguments):
                return found  # type: ignore[no-any-return]
    raise SecateurError(f"operator '{strict.short(name)}' is not allowed in a file; allowed are ATen's plain "
                        "arithmetic, shapes, layers and norms (the list is in docs/files.md)")


class Sizes:
    """Arithmetic on whole numbers, as graphs do with open sizes; on nothing else, and never beyond 64 bits."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *given: Any) -> Any:
        """The number or truth value."""
        if not all(isinstance(v, (int, float, torch.SymInt, torch.SymFloat, torch.SymBool)) for v in given):
            raise SecateurError(f"operator 'size.{self.name}' got {', '.join(type(v).__name__ for v in given)}; "
                                "allowed are numbers")
        if any(isinstance(v, (torch.SymInt, torch.SymFloat, torch.SymBool)) for v in given):
            return getattr(torch if self.name.startswith("sym_") else operator, self.name)(*given)
        found = PLAIN[self.name](*given)
        if isinstance(found, int) and abs(found) >= LARGEST:
            raise SecateurError(f"operator 'size.{self.name}' returns a number beyond 64 bits")
        return found


def item(several: Any, position: Any) -> Any:
    """One of several outputs."""
    if not isinstance(several, (tuple, list)) or type(position) is not int:
        raise SecateurError("operator 'getitem' needs the outputs of another operator and a position")
    return several[position]
