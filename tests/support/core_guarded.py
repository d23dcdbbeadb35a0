"""The core's ops on CPU tensors by the CPU emulator, everything in guarded memory full of NaNs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dyn2trt.ops.core_library import CoreLibrary
from dyn2trt.ops.core_tensors import CoreOps


class GuardedOps(CoreOps):
    """`CoreOps` whose outputs and workspace end at a page that faults, and start as NaNs and absurd integers."""

    def __init__(self, path: Path, *, flags: int = 0, seed: int = 0, variant: int = 0) -> None:
        super().__init__(CoreLibrary(path), stream=lambda: 0, flags=flags, variant=variant)
        host = self.host = self.library.functions
        host.dyn2trt_emulator_alloc.restype = c_void_p
        host.dyn2trt_emulator_alloc.argtypes = [c_size_t]
        host.dyn2trt_emulator_intact.argtypes = [c_void_p]
        host.dyn2trt_emulator_free.argtypes = [c_void_p]
        host.dyn2trt_emulator_set_seed.argtypes = [c_uint64]
        host.dyn2trt_emulator_set_seed(seed)
        host.dyn2trt_emulator_launched.restype = ctypes.c_char_p
        self.addresses: list[int] = []

    def guarded(self, tensor: Tensor) -> Tensor:
        """A copy with the same strides whose storage is guarded; gaps between elements hold NaNs."""
        return self._empty_like(tensor).copy_(tensor)

    def _empty_like(self, x: Tensor) -> Tensor:
        """With x's strides, gaps included: more than torch's ops make use of, and what TensorRT's formats need."""
        if x.numel() == 0:
            return torch.empty_like(x)
        span = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
        return self._empty((span,), x.dtype, x.device).as_strided(x.shape, x.stride())

    def call(self, name: str, *tensors: Tensor | None, **attributes: Any) -> Any:
        """Run an op on guarded copies; clones of its results. Fails when something was written around a tensor."""
        result = getattr(self, name)(*(t if t is None else self.guarded(t) for t in tensors), **attributes)
        result = tuple(t.clone() for t in result) if isinstance(result, tuple) else result.clone()
        self.release()
        return result

    def launched(self) -> list[str]:
        """Kernels launched since the last call."""
        return self.host.dyn2trt_emulator_launched().decode().split()

    def release(self) -> None:
        broken = [address for address in self.addresses if not self.host.dyn2trt_emulator_intact(address)]
        for address in self.addresses:
            self.host.dyn2trt_emulator_free(address)
        self.addresses = []
        assert not broken, "written around a tensor"

    def _empty(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        size = torch.Size(shape).numel() * dtype.itemsize
        # A composite's workspace has to be aligned to 256 bytes; everything else ends at the guard.
        rounded = -(-size // 256) * 256 if dtype == torch.uint8 else size
        address = self.host.dyn2trt_emulator_alloc(rounded)
        self.addresses.append(address)
        if size == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer((ctypes.c_byte * size).from_address(address), dtype=dtype).view(shape)
