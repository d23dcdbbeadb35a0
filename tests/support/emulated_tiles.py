"""The basic block by tiles on the CPU emulator, by ctypes (mirrors plugins/emulator/tiles_entry.cpp)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_uint32, c_void_p
from pathlib import Path

from dyn2trt.ops.core_library import Dense


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
        *((name, Dense) for name in ("x", "identity", "y")),
        ("convolutions", Convolution * 3),
    )


BASIC_BLOCK = 1
GATES = {"logits": 0, "pointwise": 1, "squeeze": 2, "layer": 3}


class TileLibrary:
    """The variants of plugins/core/fused/tiles."""

    def __init__(self, path: Path) -> None:
        self.functions = functions = ctypes.CDLL(str(path))
        functions.dyn2trt_emulator_tile_variant.restype = c_char_p
        functions.dyn2trt_emulator_tile_workspace.argtypes = [c_int, POINTER(GatedBlock)]
        functions.dyn2trt_emulator_tile_workspace.restype = c_int64
        functions.dyn2trt_emulator_tile_run.argtypes = [c_int, POINTER(GatedBlock), c_void_p]
        functions.dyn2trt_emulator_mark_workspace.argtypes = [c_void_p]
        functions.dyn2trt_emulator_set_seed.argtypes = [ctypes.c_uint64]
        functions.dyn2trt_last_error.restype = c_char_p
        self.variants: list[str] = []
        while name := functions.dyn2trt_emulator_tile_variant(len(self.variants)):
            self.variants.append(name.decode())

    def seed(self, seed: int) -> None:
        self.functions.dyn2trt_emulator_set_seed(seed)

    def workspace(self, variant: str, block: GatedBlock) -> int | None:
        """Bytes, None when the variant does not take the block."""
        size = self.functions.dyn2trt_emulator_tile_workspace(self.variants.index(variant), ctypes.byref(block))
        return None if size < 0 else size

    def run(self, variant: str, block: GatedBlock, workspace: int) -> str:
        """The error message, empty without one."""
        index = self.variants.index(variant)
        failed = self.functions.dyn2trt_emulator_tile_run(index, ctypes.byref(block), workspace) != 0
        return self.functions.dyn2trt_last_error().decode() if failed else ""
