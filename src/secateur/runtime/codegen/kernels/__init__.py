"""Generators of kernels: each file one frozen dataclass whose ``text`` is the IR of its kernel."""
