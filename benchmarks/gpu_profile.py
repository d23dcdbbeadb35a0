"""Which kernels a call launches on this GPU, how long each takes, and what each is for, by torch's profiler."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType

REPLAYS = 5
"""A profile is the mean of so many calls in a row, after as many that are not counted."""

KINDS = (
    # Gates outside of their blocks: what computes in fp32 in a network of half precision.
    ("gate", re.compile(r"f32f32_f32f32|convolve\w*NHWC<float, float|conv2d\w*<float|CUDAFunctor_add<float>")),
    ("gated block", re.compile(r"dyn2trt|kernel_entry")),
    ("copy or cast", re.compile(r"[Mm]emcpy|[Mm]emset|copy_kernel|direct_copy|nhwcToNchw|nchwToNhwc|convert_", re.I)),
    ("comparison", re.compile(r"compare_scalar|where_kernel|bitwise")),
    ("addition or activation", re.compile(r"elementwise|clamp|triton_poi")),
    ("pooling or resizing", re.compile(r"pool|upsample|interpol|reduce_kernel|mean_kernel", re.I)),
    (
        "convolution",
        re.compile(r"conv|xmma|cutlass|nvjet|gemm|cudnn|triton_(tem|mm)|scudnn|winograd|sgemm|gemv|splitK", re.I),
    ),
)
"""What a kernel is for, by its name: the first pattern that fits. Names are those of torch 2.11 and cuDNN 9, sm_90."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of a call: its time in microseconds over all of its launches in a call, and how many those are."""

    name: str
    us: float
    launches: float

    @property
    def kind(self) -> str:
        return kind_of(self.name)


def kind_of(name: str) -> str:
    """One of `KINDS`, or ``other``."""
    return next((kind for kind, pattern in KINDS if pattern.search(name)), "other")


def profile(call: Callable[[], Any]) -> list[Kernel]:
    """The kernels of a call, the longest first.

    Args:
        call: launches work on the GPU; a CUDA graph's replay shows as its kernels.
    """
    for _ in range(REPLAYS):
        call()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(REPLAYS):
            call()
        torch.cuda.synchronize()
    return kernels_of(profiler.key_averages())


def kernels_of(events: Iterable[Any]) -> list[Kernel]:
    """Kernels of torch's averaged profiler events: those that ran on the device."""
    found = [
        Kernel(e.key, e.self_device_time_total / REPLAYS, e.count / REPLAYS)
        for e in events
        if e.device_type == DeviceType.CUDA and e.self_device_time_total > 0
    ]
    return sorted(found, key=lambda kernel: -kernel.us)


def by_kind(kernels: Iterable[Kernel]) -> dict[str, float]:
    """Microseconds of each kind of kernel, the largest first."""
    sums: dict[str, float] = {}
    for kernel in kernels:
        sums[kernel.kind] = sums.get(kernel.kind, 0.0) + kernel.us
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def convolutions_us(kernels: Iterable[Kernel]) -> float:
    """Microseconds of the convolutions alone: no bias, activation, addition or gap between kernels."""
    return sum(kernel.us for kernel in kernels if kernel.kind == "convolution")
