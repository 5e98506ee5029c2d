"""oneMKL's inspector-executor: CSR handles with hints, optimised once, called through ctypes."""

import ctypes
import glob
import sys

import numpy as np

ROW_MAJOR, GENERAL, NO_TRANSPOSE, MANY = 101, 20, 10, 10_000


class Description(ctypes.Structure):
    """``struct matrix_descr``."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int))


def library():
    """The dispatching library of the ``mkl`` wheel."""
    return ctypes.CDLL(sorted(glob.glob(f"{sys.prefix}/lib/libmkl_rt.so*"))[-1], mode=ctypes.RTLD_GLOBAL)


class Matrix:
    """A sparse matrix that is multiplied with ``columns`` columns at a time, features first."""

    def __init__(self, mkl, weight, columns):
        self.mkl, self.rows, self.columns = mkl, len(weight), columns
        row, column = np.nonzero(weight)
        starts = np.zeros(len(weight) + 1, np.int32)
        np.cumsum(np.bincount(row, minlength=len(weight)), out=starts[1:])
        self.kept = starts, column.astype(np.int32), np.ascontiguousarray(weight[row, column])
        self.handle, self.general = ctypes.c_void_p(), Description(GENERAL, 0, 0)
        first, indices, values = (a.ctypes.data for a in self.kept)
        self.check(mkl.mkl_sparse_s_create_csr(
            ctypes.byref(self.handle), 0, *weight.shape, *map(ctypes.c_void_p, (first, first + 4, indices, values))))
        if columns == 1:
            self.check(mkl.mkl_sparse_set_mv_hint(self.handle, NO_TRANSPOSE, self.general, MANY))
        else:
            self.check(mkl.mkl_sparse_set_mm_hint(self.handle, NO_TRANSPOSE, self.general, ROW_MAJOR, columns, MANY))
        self.check(mkl.mkl_sparse_optimize(self.handle))
        self.out = np.empty((self.rows, columns), np.float32)

    def check(self, status):
        """Refuse what the library refuses."""
        if status:
            raise RuntimeError(f"MKL status {status}")

    def __call__(self, x):
        """The product with ``(inputs, columns)``; the array that comes back is used again at the next call."""
        one, zero, data = ctypes.c_float(1), ctypes.c_float(0), ctypes.c_void_p(x.ctypes.data)
        out = ctypes.c_void_p(self.out.ctypes.data)
        if self.columns == 1:
            self.check(self.mkl.mkl_sparse_s_mv(NO_TRANSPOSE, one, self.handle, self.general, data, zero, out))
        else:
            self.check(self.mkl.mkl_sparse_s_mm(NO_TRANSPOSE, one, self.handle, self.general, ROW_MAJOR, data,
                                                self.columns, self.columns, zero, out, self.columns))
        return self.out


def sparse(layers, weights, x, threads):
    """Linear chains; activations features first, both transpositions included."""
    if any(layer["kind"] not in ("linear", "relu") for layer in layers):
        raise ValueError("linear layers only")
    mkl = library()
    mkl.MKL_Set_Num_Threads(threads)
    steps = []
    for k, layer in enumerate(layers):
        bias = weights.get(f"{k}.bias")
        linear = layer["kind"] == "linear"
        steps.append((Matrix(mkl, weights[f"{k}.weight"], len(x)), None if bias is None else bias[:, None])
                     if linear else None)

    def call():
        value = np.ascontiguousarray(x.T)
        for step in steps:
            if step is None:
                np.maximum(value, 0, out=value)
            else:
                value = step[0](value)
                if step[1] is not None:
                    value += step[1]
        return np.ascontiguousarray(value.T)

    return call, version(mkl)


def version(mkl):
    """The library's version in its own words."""
    text = ctypes.create_string_buffer(200)
    mkl.mkl_get_version_string(text, 200)
    return text.value.decode().strip().removeprefix("Intel(R) oneAPI Math Kernel Library ").split(" Product")[0]
