"""Networks in files: one safetensors file without pickle and without the zeros; nothing in it is run as code.

``header`` and ``strict`` read a file and trust nothing in it, ``sparse`` and ``gaps`` have the forms of a tensor,
``layout`` says what stands where, ``low_bits`` which layers have fewer bits, ``write`` writes it, ``version_1`` reads
older files.
"""

from secateur.files.native.facts import CutFacts, FileFacts, TensorFacts
from secateur.files.native.loading import load
from secateur.files.native.read import is_ours, tell, tensors_of
from secateur.files.native.saving import file_bytes, save, save_dense
from secateur.files.native.write import write_tensors

__all__ = ["CutFacts", "FileFacts", "TensorFacts", "file_bytes", "is_ours", "load", "save", "save_dense",
           "tell", "tensors_of", "write_tensors"]
