"""Networks in files: one safetensors file, no pickle, zeros not stored, nothing in it ever run as code.

``header`` and ``strict`` read what a file tells and trust none of it, ``sparse`` has the three forms of a tensor,
``layout`` says what stands where, ``write`` puts it on a disk whole or not at all, ``version_1`` reads older files.
"""

from secateur.files.facts import CutFacts, FileFacts, TensorFacts, tell
from secateur.files.loading import load
from secateur.files.read import is_ours, tensors_of
from secateur.files.saving import file_bytes, save, save_dense
from secateur.files.write import placed, write_tensors

__all__ = ["CutFacts", "FileFacts", "TensorFacts", "file_bytes", "is_ours", "load", "placed", "save", "save_dense",
           "tell", "tensors_of", "write_tensors"]
