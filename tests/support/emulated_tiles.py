"""The basic block's variants by tiles on the CPU emulator, by ctypes and the library's own functions."""

from __future__ import annotations

from ctypes import POINTER, byref, c_size_t, c_uint64, c_void_p
from pathlib import Path

from dyn2trt.ops.core_library import CoreLibrary, GatedBlock

BASIC_BLOCK = 1


class TileLibrary:
    """Variants by name: "tile 8x8 mma"."""

    def __init__(self, path: Path) -> None:
        self.functions = functions = CoreLibrary(path).functions  # which holds the structs to the library
        functions.dyn2trt_gated_block_workspace.argtypes = [POINTER(GatedBlock), POINTER(c_size_t)]
        functions.dyn2trt_gated_block.argtypes = [POINTER(GatedBlock), c_void_p, c_size_t, c_void_p]
        functions.dyn2trt_emulator_mark_workspace.argtypes = [c_void_p]
        functions.dyn2trt_emulator_set_seed.argtypes = [c_uint64]
        self.numbers: dict[str, int] = {}
        while name := functions.dyn2trt_gated_block_variant(BASIC_BLOCK, len(self.numbers) + 1):
            self.numbers[name.decode()] = len(self.numbers) + 1

    def seed(self, seed: int) -> None:
        self.functions.dyn2trt_emulator_set_seed(seed)

    def workspace(self, block: GatedBlock) -> int:
        """Bytes that the block needs, whichever variant runs it."""
        size = c_size_t()
        assert self.functions.dyn2trt_gated_block_workspace(byref(block), byref(size)) == 0
        return size.value

    def run(self, variant: str, block: GatedBlock, workspace: int | None = None, size: int = 0) -> str:
        """The error message, empty without one."""
        block.variant = self.numbers[variant]
        failed = self.functions.dyn2trt_gated_block(byref(block), workspace, size, None) != 0
        return self.functions.dyn2trt_last_error().decode() if failed else ""
