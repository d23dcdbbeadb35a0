"""Runs the test kernels of a library over the CPU emulator, by ctypes."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path

from torch import Tensor


class Harness:
    """Runs functions ``test_<kernel>(in, out, variant, blocks)`` on guarded copies of tensors."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.dyn2trt_emulator_alloc.restype = c_void_p
        self.library.dyn2trt_emulator_alloc.argtypes = [c_size_t]
        self.library.dyn2trt_emulator_intact.argtypes = [c_void_p]
        self.library.dyn2trt_emulator_free.argtypes = [c_void_p]
        self.library.dyn2trt_emulator_set_seed.argtypes = [c_uint64]
        self.library.dyn2trt_last_error.restype = ctypes.c_char_p

    def run(self, kernel: str, given: Tensor, out: Tensor, variant: int = 0, blocks: int = 1, seed: int = 0) -> str:
        """Fill ``out``, and return the error message, empty without one."""
        self.library.dyn2trt_emulator_set_seed(seed)
        source = self.library.dyn2trt_emulator_alloc(given.nbytes)
        target = self.library.dyn2trt_emulator_alloc(out.nbytes)
        ctypes.memmove(source, given.data_ptr(), given.nbytes)
        function = getattr(self.library, f"test_{kernel}")
        function.argtypes = [c_void_p, c_void_p, c_int, c_int]
        failed = function(source, target, variant, blocks) != 0
        message = self.library.dyn2trt_last_error().decode() if failed else ""
        ctypes.memmove(out.data_ptr(), target, out.nbytes)
        if not self.library.dyn2trt_emulator_intact(target):
            message += "written around the tensor"
        self.library.dyn2trt_emulator_free(source)
        self.library.dyn2trt_emulator_free(target)
        return message
