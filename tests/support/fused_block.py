"""The structs of a gated block and its gate, as plugins/core/include/dyn2trt/core.h has them, for kernel tests."""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_float, c_int32, c_uint32, c_void_p

from dyn2trt.ops.core_library import Dense

GATES = ("logits", "pointwise", "squeeze", "layer")


class Gate(Structure):
    _fields_ = (
        ("kind", c_int32),
        ("threshold", c_float),
        *((name, c_void_p) for name in ("given", "weight", "bias", "pooled_weight", "pooled_bias")),
        ("hidden", c_int32),
        ("logits", c_void_p),
    )


class Convolution(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("c_out", c_int32))


class GatedBlock(Structure):
    _fields_ = (
        ("kind", c_int32),
        ("dtype", c_int32),
        ("flags", c_uint32),
        *((name, c_int32) for name in ("variant", "activation", "stride_h", "stride_w")),
        ("gate", Gate),
        ("x", Dense),
        ("identity", Dense),
        ("y", Dense),
        ("convolutions", Convolution * 3),
    )


def check_sizes(library: ctypes.CDLL) -> None:
    """Fail when a struct here differs from the library's."""
    library.dyn2trt_sizeof.restype = ctypes.c_size_t
    for struct, name in ((Gate, "Dyn2trtGate"), (Convolution, "Dyn2trtConvolution"), (GatedBlock, "Dyn2trtGatedBlock")):
        size = library.dyn2trt_sizeof(name.encode())
        assert size in (0, ctypes.sizeof(struct)), f"{name}: {size} bytes in the library, {ctypes.sizeof(struct)} here"
