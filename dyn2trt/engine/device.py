"""The GPU and its driver, asked through the driver's own libraries: no CUDA toolkit, no torch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h, part of the driver's stable ABI."""


@dataclass(frozen=True)
class Gpu:
    name: str
    compute_capability: str
    """Like ``9.0``."""

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


@dataclass(frozen=True)
class Machine:
    """What a plan depends on besides TensorRT; None for what is not there."""

    gpu: Gpu | None
    """The first visible device, which is the one that TensorRT uses."""
    driver: str | None
    """Version of the kernel driver, like ``580.65.06``."""
    cuda: str | None
    """Highest CUDA version that the driver supports, like ``13.0``."""


def this_machine() -> Machine:
    """Examine this machine. Never raises."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Machine(gpu=None, driver=_driver_version(), cuda=None)
    number = ctypes.c_int()
    failed = cuda.cuDriverGetVersion(ctypes.byref(number))
    version = None if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"
    return Machine(gpu=_first_gpu(cuda), driver=_driver_version(), cuda=version)


def _first_gpu(cuda: ctypes.CDLL) -> Gpu | None:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
    )
    return None if failed else Gpu(name.value.decode(), f"{major.value}.{minor.value}")


def _driver_version() -> str | None:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    version = ctypes.create_string_buffer(96)
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(version, len(version)):
        return None
    return version.value.decode()
