"""A random basic block for the tile kernels, its float64 reference, and what dense torch makes of it at precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from core_cases import assert_close, mask, parameters
from emulated_gemm import ACTIVATIONS, DTYPES, Memory
from emulated_tiles import BASIC_BLOCK, TileLibrary
from gemm_case import activate, get_dense, put_dense
from torch import Tensor
from torch.nn import functional

from dyn2trt.contract import GATES
from dyn2trt.ops.core_library import Convolution, Gate, GatedBlock


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


@dataclass(frozen=True)
class GateTensors:
    """Float32, as `Dyn2trtGate` has them; those that a kind has not are None."""

    weight: Tensor
    bias: Tensor
    pooled_weight: Tensor | None = None
    pooled_bias: Tensor | None = None

    def logits(self, case: Case, x: Tensor) -> Tensor:
        """In float64, [n, 1, h, w]."""
        n, h, w = case.grid
        x, weight, bias = x.double(), self.weight.double(), self.bias.double()
        mean = x.mean((2, 3))
        if case.gate == "layer":
            assert self.pooled_weight is not None
            assert self.pooled_bias is not None
            hidden = (mean @ weight.T + bias).relu()
            skip, execute = (hidden @ self.pooled_weight.double().T + self.pooled_bias.double()).unbind(1)
            return (execute - skip).view(n, 1, 1, 1).expand(n, 1, h, w)
        filters = weight.permute(2, 0, 1)[None] if case.gate == "squeeze" else weight.view(1, -1, 1, 1)
        y = functional.conv2d(x, filters, bias, stride=case.stride, padding=filters.shape[-1] // 2)
        if self.pooled_weight is not None and self.pooled_bias is not None:
            y = y + (mean @ self.pooled_weight.double() + self.pooled_bias.double()).view(n, 1, 1, 1)
        return y


def gate_tensors(case: Case, generator: torch.Generator) -> GateTensors:
    def random(*shape: int, fan: int) -> Tensor:
        return torch.randn(shape, generator=generator) / fan**0.5

    c = case.channels
    if case.gate == "layer":
        return GateTensors(random(5, c, fan=1), random(5, fan=1), random(2, 5, fan=5), random(2, fan=9))
    bias = random(1, fan=9) - 0.5
    if case.gate == "squeeze":
        return GateTensors(random(3, 3, c, fan=9 * c), bias, random(c, fan=1), random(1, fan=9))
    return GateTensors(random(c, fan=c), bias)


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
    gate_weights = gate_tensors(case, generator)
    given = mask(case.active, n, h, w, generator)

    memory = Memory(library.functions)
    try:
        block = GatedBlock(kind=BASIC_BLOCK, dtype=DTYPES[dtype], activation=ACTIVATIONS[case.activation])
        block.stride_h = block.stride_w = case.stride
        block.x = put_dense(memory, x, case.layout)
        block.identity = block.x if case.identity_is_x else put_dense(memory, identity, case.layout)
        block.y = put_dense(memory, torch.full((n, cols, h, w), torch.nan, dtype=dtype), case.layout)
        block.convolutions[0] = Convolution(memory.put(weight1), memory.put(bias1), cols)
        block.convolutions[1] = Convolution(memory.put(weight2), memory.put(bias2), cols)
        gate = Gate(kind=[kind.name for kind in GATES].index(case.gate), threshold=case.threshold)
        if case.gate == "logits":
            gate.given = memory.put(given)
        else:
            gate.hidden = len(gate_weights.bias)
            for name, tensor in vars(gate_weights).items():
                setattr(gate, name, None if tensor is None else memory.put(tensor))
        published = case.publish and case.gate != "logits"
        if published:
            gate.logits = memory.poisoned((n, 1, h, w), torch.float32)
        block.gate = gate
        size = (library.workspace(block) + 255) // 256 * 256
        workspace = memory.poisoned((size,), torch.uint8)
        library.functions.dyn2trt_emulator_mark_workspace(workspace)
        message = library.run(variant, block, workspace, size)
        assert message == ""
        y = get_dense(memory, block.y.data, cols, case.layout)
        result = Result(y, memory.get(gate.logits) if published else None)
    finally:
        memory.close()

    logits = given if case.gate == "logits" else gate_weights.logits(case, x)
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
