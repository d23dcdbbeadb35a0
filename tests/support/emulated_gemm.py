"""The gathered GEMM of plugins/core/gemm on the CPU emulator, by ctypes (mirrors plugins/emulator/gemm_entry.cpp)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_int32, c_void_p

import torch

from dyn2trt.ops.core_library import Dense, Geometry, SiteSet

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 2, "hard_swish": 3}


class EmulatedGemm(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("dtype", "tf32", "tile", "channels", "cols")),
        ("geometry", Geometry),
        ("input", SiteSet),
        ("output", SiteSet),
        ("rows", c_void_p),
        ("x", Dense),
        ("depthwise_weight", c_void_p),
        ("depthwise_bias", c_void_p),
        ("depthwise_activation", c_int32),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("activation", c_int32),
        ("out_activation", c_int32),
        ("rows_out", c_void_p),
        ("y", Dense),
        ("residual", Dense),
        ("split", c_int32),
    )


class Memory:
    """Tensors copied into guarded memory: a read past the end faults, a write around one shows."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.dyn2trt_emulator_alloc.restype = c_void_p
        library.dyn2trt_emulator_alloc.argtypes = [ctypes.c_size_t]
        library.dyn2trt_emulator_intact.argtypes = [c_void_p]
        library.dyn2trt_emulator_free.argtypes = [c_void_p]
        self.buffers: list[tuple[int, torch.Tensor]] = []

    def put(self, tensor: torch.Tensor) -> int:
        tensor = tensor.contiguous()
        address = self.library.dyn2trt_emulator_alloc(tensor.nbytes)
        ctypes.memmove(address, tensor.data_ptr(), tensor.nbytes)
        self.buffers.append((address, tensor))
        return address

    def poisoned(self, shape: tuple[int, ...], dtype: torch.dtype) -> int:
        """The address of a buffer that holds NaNs."""
        tensor = torch.empty(shape, dtype=dtype)
        address = self.library.dyn2trt_emulator_alloc(tensor.nbytes)
        self.buffers.append((address, tensor))
        return address

    def get(self, address: int) -> torch.Tensor:
        tensor = next(t for a, t in self.buffers if a == address).clone()
        ctypes.memmove(tensor.data_ptr(), address, tensor.nbytes)
        return tensor

    def overwrite(self, address: int, tensor: torch.Tensor) -> None:
        ctypes.memmove(address, tensor.contiguous().data_ptr(), tensor.nbytes)

    def close(self) -> None:
        broken = [tuple(t.shape) for a, t in self.buffers if not self.library.dyn2trt_emulator_intact(a)]
        for address, _ in self.buffers:
            self.library.dyn2trt_emulator_free(address)
        self.buffers = []
        assert not broken, f"written around the tensors of shapes {broken}"


def run(library: ctypes.CDLL, test: EmulatedGemm) -> None:
    library.dyn2trt_emulator_gathered_gemm.argtypes = [POINTER(EmulatedGemm)]
    library.dyn2trt_last_error.restype = ctypes.c_char_p
    status = library.dyn2trt_emulator_gathered_gemm(ctypes.byref(test))
    assert status == 0, library.dyn2trt_last_error().decode()
