"""Networks in files: one safetensors file, no pickle, zeros not stored, nothing in it ever run as code.

``header`` and ``strict`` read what a file tells and trust none of it, ``sparse`` has the three forms of a tensor,
``layout`` says what stands where, ``write`` writes it, ``version_1`` reads older files.
"""

from secateur.files.native.facts import CutFacts, FileFacts, TensorFacts
from secateur.files.native.loading import load
from secateur.files.native.read import is_ours, tell, tensors_of
from secateur.files.native.saving import file_bytes, save, save_dense
from secateur.files.native.write import write_tensors

__all__ = ["CutFacts", "FileFacts", "TensorFacts", "file_bytes", "is_ours", "load", "save", "save_dense",
           "tell", "tensors_of", "write_tensors"]
