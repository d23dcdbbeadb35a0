"""A random basic block or bottleneck for the row kernels, its float64 reference, and what dense torch makes of it."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_int64, c_void_p
from dataclasses import dataclass

import torch
from core_cases import assert_close, mask, parameters
from emulated_gemm import ACTIVATIONS, DTYPES, Memory
from gemm_case import activate, get_dense, put_dense
from torch import Tensor
from torch.nn import functional

from dyn2trt.contract import GATES
from dyn2trt.ops.core_library import Convolution, Gate, GatedBlock

KINDS = {"basic": 1, "bottleneck": 2}


@dataclass(frozen=True)
class Case:
    kind: str = "basic"
    grid: tuple[int, int, int] = (1, 9, 11)  # n, h, w of the output
    channels: int = 16
    width: int = 40  # of a bottleneck
    cols: int = 24
    stride: int = 1
    dtype: torch.dtype = torch.float16
    activation: str = "relu"
    layout: str = "nhwc"  # or nhwc_padded
    identity_is_x: bool = False
    active: str = "some"  # a kind of core_cases.mask
    gate: str = "logits"
    threshold: float = 0.0
    publish: bool = False  # logits are an output
    odd: bool = True  # with stride 2: x has an odd number of rows
    tile: tuple[int, int, int] = (0, 0, 0)  # blocks, columns, splits; no blocks: what the kernels choose
    seed: int = 0

    @property
    def input_grid(self) -> tuple[int, int]:
        _, h, w = self.grid
        return (h, w) if self.stride == 1 else (2 * h - int(self.odd), 2 * w)

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Of the convolutions' weights."""
        c, m, co = self.channels, self.width, self.cols
        if self.kind == "basic":
            return [(co, 3, 3, c), (co, 3, 3, co)]
        return [(m, 1, 1, c), (m, 3, 3, m), (co, 1, 1, m)]


@dataclass
class Result:
    y: Tensor  # [n, cols, h, w]
    logits: Tensor | None  # [n, 1, h, w], where published


def bind(library: ctypes.CDLL) -> ctypes.CDLL:
    library.dyn2trt_emulator_rows_workspace.argtypes = [POINTER(GatedBlock)]
    library.dyn2trt_emulator_rows_workspace.restype = c_int64
    library.dyn2trt_emulator_rows.argtypes = [POINTER(GatedBlock), c_void_p, c_void_p, c_int, c_int, c_int]
    library.dyn2trt_last_error.restype = ctypes.c_char_p
    return library


def compute_logits(case: Case, x: Tensor, weight: Tensor, bias: Tensor, offset: Tensor | None) -> Tensor:
    """Float64 logits [n, 1, h, w] of a gate that computes them."""
    n, h, w = case.grid
    if case.gate == "layer":
        assert offset is not None
        return offset.double().view(n, 1, 1, 1).expand(n, 1, h, w)
    filters = weight.double() if case.gate == "squeeze" else weight.double().view(1, 1, -1)
    padding = filters.shape[0] // 2
    y = functional.conv2d(
        x.double(), filters.permute(2, 0, 1)[None], bias.double(), stride=case.stride, padding=padding
    )
    return y if offset is None else y + offset.double().view(n, 1, 1, 1)


def dense(case: Case, x: Tensor, identity: Tensor, weights: list[Tensor], active: Tensor, dtype: torch.dtype) -> Tensor:
    """The block by dense convolutions in ``dtype``."""
    y = x.to(dtype)
    strided = 0 if case.kind == "basic" else 1
    for i in range(0, len(weights), 2):
        if i > 0:
            y = activate(y, case.activation)
        weight, bias = weights[i].to(dtype).permute(0, 3, 1, 2), weights[i + 1].to(dtype)
        stride = case.stride if i // 2 == strided else 1
        y = functional.conv2d(y, weight, bias, stride=stride, padding=weight.shape[-1] // 2)
    branch = torch.where(active, y, torch.zeros((), dtype=dtype))
    return activate(identity.to(dtype) + branch, case.activation)


def run(library: ctypes.CDLL, case: Case) -> Result:
    """Runs the kernels in guarded memory and compares: published logits, then y with the decisions they make."""
    generator = torch.Generator().manual_seed(case.seed)
    n, h, w = case.grid
    c, cols, dtype = case.channels, case.cols, case.dtype
    x = torch.randn(n, c, *case.input_grid, generator=generator).to(dtype)
    identity = x if case.identity_is_x else torch.randn(n, cols, h, w, generator=generator).to(dtype)
    fans = [kh * kw * c_in for _, kh, kw, c_in in case.shapes]
    weights = parameters(case.shapes, fans, dtype, generator)
    taps = (3, 3) if case.gate == "squeeze" else ()
    gate_weight = torch.randn(*taps, c, generator=generator) / (9 * c if taps else c) ** 0.5
    gate_bias = torch.randn(1, generator=generator) * 0.3 - 0.5
    offset = torch.linspace(0.5, -0.5, n) if case.gate in ("squeeze", "layer") else None
    logits = mask(case.active, n, h, w, generator)

    memory = Memory(library)
    block = GatedBlock(kind=KINDS[case.kind], dtype=DTYPES[dtype], activation=ACTIVATIONS[case.activation])
    block.stride_h = block.stride_w = case.stride
    block.x = put_dense(memory, x, case.layout)
    block.identity = block.x if case.identity_is_x else put_dense(memory, identity, case.layout)
    block.y = put_dense(memory, torch.full((n, cols, h, w), torch.nan, dtype=dtype), case.layout)
    for i, shape in enumerate(case.shapes):
        block.convolutions[i] = Convolution(memory.put(weights[2 * i]), memory.put(weights[2 * i + 1]), shape[0])
    gate = Gate(kind=[kind.name for kind in GATES].index(case.gate), threshold=case.threshold)
    if case.gate == "logits":
        gate.given = memory.put(logits)
    elif case.gate != "layer":
        gate.weight, gate.bias = memory.put(gate_weight), memory.put(gate_bias)
    published = case.publish and case.gate != "logits"
    if published:
        gate.logits = memory.poisoned((n, 1, h, w), torch.float32)
    block.gate = gate
    size = library.dyn2trt_emulator_rows_workspace(ctypes.byref(block))
    assert size >= 0, "the kernels do not take the block"
    workspace = memory.poisoned((size,), torch.uint8)
    given_offset = None if offset is None else memory.put(offset)
    try:
        failed = library.dyn2trt_emulator_rows(ctypes.byref(block), given_offset, workspace, *case.tile) != 0
        assert not failed, library.dyn2trt_last_error().decode()
        y = get_dense(memory, block.y.data, cols, case.layout)
        result = Result(y, memory.get(gate.logits) if published else None)
    finally:
        memory.close()

    if case.gate != "logits":
        logits = compute_logits(case, x, gate_weight, gate_bias, offset)
    if result.logits is not None:
        torch.testing.assert_close(result.logits, logits.float(), rtol=1e-5, atol=1e-5)
        logits = result.logits
    active = logits >= case.threshold
    reference = dense(case, x, identity, weights, active, torch.float64)
    assert_close(result.y, reference, dense(case, x, identity, weights, active, dtype))
    return result
