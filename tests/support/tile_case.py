"""A random basic block for the tile kernels, its float64 reference, and what dense torch makes of it at precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from core_cases import assert_close, mask, parameters
from emulated_gemm import ACTIVATIONS, DTYPES, Memory
from emulated_tiles import BASIC_BLOCK, GATES, Convolution, Gate, GatedBlock, TileLibrary
from gemm_case import activate, get_dense, put_dense
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    grid: tuple[int, int, int] = (1, 9, 11)  # n, h, w of the output
    channels: int = 16
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
    seed: int = 0

    @property
    def input_grid(self) -> tuple[int, int]:
        _, h, w = self.grid
        return (h, w) if self.stride == 1 else (2 * h - int(self.odd), 2 * w)


@dataclass
class Result:
    y: Tensor  # [n, cols, h, w]
    logits: Tensor | None  # [n, 1, h, w], where published


def compute_logits(case: Case, x: Tensor, weight: Tensor, bias: Tensor, offset: Tensor | None) -> Tensor:
    """Float64 logits [n, 1, h, w] of a gate that computes them."""
    n, h, w = case.grid
    if case.gate == "layer":
        assert offset is not None
        return offset.double().view(n, 1, 1, 1).expand(n, 1, h, w)
    filters = weight.double() if case.gate == "squeeze" else weight.double().view(1, 1, -1)
    size = filters.shape[0]
    filters = filters.permute(2, 0, 1)[None]
    y = functional.conv2d(x.double(), filters, bias.double(), stride=case.stride, padding=size // 2)
    return y if offset is None else y + offset.double().view(n, 1, 1, 1)


def run(library: TileLibrary, variant: str, case: Case) -> Result:
    """Runs a variant in guarded memory and compares: logits where they are published, then y with their decisions."""
    generator = torch.Generator().manual_seed(case.seed)
    n, h, w = case.grid
    c, cols, dtype = case.channels, case.cols, case.dtype
    x = torch.randn(n, c, *case.input_grid, generator=generator).to(dtype)
    identity = x if case.identity_is_x else torch.randn(n, cols, h, w, generator=generator).to(dtype)
    weight1, bias1, weight2, bias2 = parameters(
        [(cols, 3, 3, c), (cols, 3, 3, cols)], [9 * c, 9 * cols], dtype, generator
    )
    taps = (3, 3) if case.gate == "squeeze" else ()
    gate_weight = torch.randn(*taps, c, generator=generator) / (9 * c if taps else c) ** 0.5
    gate_bias = torch.randn(1, generator=generator) * 0.3 - 0.5
    offset = torch.linspace(0.5, -0.5, n) if case.gate in ("squeeze", "layer") else None

    memory = Memory(library.functions)
    try:
        block = GatedBlock(kind=BASIC_BLOCK, dtype=DTYPES[dtype], activation=ACTIVATIONS[case.activation])
        block.stride_h = block.stride_w = case.stride
        block.x = put_dense(memory, x, case.layout)
        block.identity = block.x if case.identity_is_x else put_dense(memory, identity, case.layout)
        block.y = put_dense(memory, torch.full((n, cols, h, w), torch.nan, dtype=dtype), case.layout)
        block.convolutions[0] = Convolution(memory.put(weight1), memory.put(bias1), cols)
        block.convolutions[1] = Convolution(memory.put(weight2), memory.put(bias2), cols)
        logits = mask(case.active, n, h, w, generator)
        gate = Gate(kind=GATES[case.gate], threshold=case.threshold)
        if case.gate == "logits":
            gate.given = memory.put(logits)
        else:
            gate.given = None if offset is None else memory.put(offset)
            gate.weight, gate.bias = memory.put(gate_weight), memory.put(gate_bias)
        published = case.publish and case.gate != "logits"
        if published:
            gate.logits = memory.poisoned((n, 1, h, w), torch.float32)
        block.gate = gate
        bytes_ = library.workspace(variant, block)
        assert bytes_ is not None, "the variant does not take the block"
        workspace = memory.poisoned((bytes_ + 15) // 16 * 16, torch.uint8)
        library.functions.dyn2trt_emulator_mark_workspace(workspace)
        message = library.run(variant, block, workspace)
        assert message == ""
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

    def dense(dtype: torch.dtype) -> Tensor:
        tensors = (weight1, bias1, weight2, bias2, x, identity)
        w1, b1, w2, b2, x_, identity_ = (t.to(dtype) for t in tensors)
        hidden = functional.conv2d(x_, w1.permute(0, 3, 1, 2), b1, stride=case.stride, padding=1)
        branch = functional.conv2d(activate(hidden, case.activation), w2.permute(0, 3, 1, 2), b2, padding=1)
        return activate(identity_ + torch.where(active, branch, torch.zeros((), dtype=dtype)), case.activation)

    assert_close(result.y, dense(torch.float64), dense(dtype))
    return result
