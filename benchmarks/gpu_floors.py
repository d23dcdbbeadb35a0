"""What a block must at least take: its passes over memory and its products, against ceilings measured on the spot.

A floor is the sum over a block's kernels of the larger of two times: the bytes that the kernel must move, each once,
over the measured copy bandwidth, and its multiply-accumulates over the measured matrix rate. It counts the kernels
that there are: hidden rows are written by one and read by the next. Caches can beat a floor where all of it fits into
them, at batch 1 above all; launches are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gpu_block_cases import Case
from torch import Tensor

from dyn2trt.gates import halo


@dataclass(frozen=True)
class Ceilings:
    """Measured: bytes a second of a copy (read and written), and FLOP a second of a matrix product."""

    bandwidth: float
    flops: float


@dataclass(frozen=True)
class Pass:
    """One kernel: bytes it moves, multiply-accumulates of its products."""

    bytes: float
    macs: float = 0.0

    def seconds(self, ceilings: Ceilings) -> float:
        return max(self.bytes / ceilings.bandwidth, 2 * self.macs / ceilings.flops)


def seconds(passes: list[Pass], ceilings: Ceilings) -> float:
    return sum(p.seconds(ceilings) for p in passes)


def measure_ceilings(dtype: torch.dtype, repeats: int = 20) -> Ceilings:
    """Copy a gigabyte and multiply 8192 x 8192 random matrices; the median of ``repeats``."""
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / _median_seconds(lambda: target.copy_(source), repeats)
    a, b = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    return Ceilings(bandwidth, 2 * 8192**3 / _median_seconds(lambda: a @ b, repeats))


def sparse_passes(case: Case, mask: Tensor) -> list[Pass]:
    """The passes of the core library for a mask bool [n, 1, ho, wo]: compaction and copy, then the convolutions."""
    element = case.dtype.itemsize
    near = halo(mask, case.output_grid)
    active, wide = int(mask.sum()), int(near.sum())
    outputs = mask.numel()
    c, width, c_out = case.channels, case.width, case.c_out
    indices = 4 * (mask.numel() + 2 * outputs + active + wide)  # logits, two slot maps, two site lists
    begin = Pass(indices + 2 * outputs * c_out * element)
    last = 2 * active * c_out  # residual read, result written
    if case.name == "gated_inverted_residual":
        return [
            begin,
            Pass(element * (wide * (c + width) + c * width), wide * c * width),
            Pass(element * (wide * width + last + c * width), active * width * c),
        ]
    if case.name == "gated_basic_block":
        read = int(halo(near, case.grid, stride=case.stride).sum())
        return [
            begin,
            Pass(element * (read * c + wide * c_out + 9 * c * c_out), 9 * wide * c * c_out),
            Pass(element * (wide * c_out + last + 9 * c_out * c_out), 9 * active * c_out * c_out),
        ]
    wide = int(halo(mask, case.grid, stride=case.stride).sum())
    return [
        begin,
        Pass(element * (wide * (c + width) + c * width), wide * c * width),
        Pass(element * (wide * width + active * width + 9 * width * width), 9 * active * width * width),
        Pass(element * (active * width + last + width * c_out), active * width * c_out),
    ]


def dense_passes(case: Case) -> list[Pass]:
    """The passes of the ungated block, a kernel a convolution, activation and residual fused into it."""
    element = case.dtype.itemsize
    h, w = case.grid
    inputs, outputs = case.batch * h * w, case.batch * case.output_grid[0] * case.output_grid[1]
    c, width, c_out = case.channels, case.width, case.c_out
    if case.name == "gated_inverted_residual":
        return [
            Pass(element * (inputs * (c + width) + c * width), inputs * c * width),
            Pass(element * 2 * inputs * width),
            Pass(element * (inputs * (width + 2 * c) + c * width), inputs * width * c),
        ]
    if case.name == "gated_basic_block":
        return [
            Pass(element * (inputs * c + outputs * c_out + 9 * c * c_out), 9 * outputs * c * c_out),
            Pass(element * (outputs * 3 * c_out + 9 * c_out * c_out), 9 * outputs * c_out * c_out),
        ]
    return [
        Pass(element * (inputs * (c + width) + c * width), inputs * c * width),
        Pass(element * ((inputs + outputs) * width + 9 * width * width), 9 * outputs * width * width),
        Pass(element * (outputs * (width + 2 * c_out) + width * c_out), outputs * width * c_out),
    ]


def _median_seconds(run: object, repeats: int) -> float:
    times = []
    for i in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()  # type: ignore[operator]
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end) * 1e-3)
    return sorted(times)[len(times) // 2]
