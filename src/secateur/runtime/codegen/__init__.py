"""LLVM IR of the kernels, compiled for the instruction sets of this machine and kept in a cache."""
