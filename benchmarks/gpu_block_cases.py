"""The gated blocks that gpu_blocks.py measures: sparse by torch.ops.dyn2trt, dense by torch's convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import dyn2trt.ops  # noqa: F401  registers torch.ops.dyn2trt
from dyn2trt.contract import COMPOSITES, BlockKind


@dataclass(frozen=True)
class Case:
    """One block: op, batch, input channels, hidden width, output channels, input grid, stride."""

    name: str
    batch: int
    channels: int
    width: int
    c_out: int
    grid: tuple[int, int]
    dtype: torch.dtype
    layout: str = "nhwc"
    stride: int = 1

    @property
    def block(self) -> BlockKind:
        return next(schema.block for schema in COMPOSITES if schema.torch_name == self.name)

    @property
    def output_grid(self) -> tuple[int, int]:
        return (self.grid[0] - 1) // self.stride + 1, (self.grid[1] - 1) // self.stride + 1

    @property
    def label(self) -> str:
        short = self.name.removeprefix("gated_").replace("_", " ")
        return f"{short} {self.channels} at {self.grid[0]}x{self.grid[1]}, batch {self.batch}"


def make(name: str, batch: int, channels: int, size: int, dtype: torch.dtype, layout: str) -> Case:
    """The block of that name as its networks have it: expansion 6, or a bottleneck's quarter."""
    width = {"gated_inverted_residual": 6 * channels, "gated_basic_block": 0, "gated_bottleneck": channels // 4}[name]
    return Case(name, batch, channels, width, channels, (size, size), dtype, layout)


# Channels and feature map of each kind, from the wide and shallow to the narrow and deep.
BLOCKS = {
    "gated_inverted_residual": ((32, 128), (96, 64), (96, 32), (96, 16), (160, 8)),
    "gated_basic_block": ((64, 64), (128, 32), (256, 16), (512, 8)),
    "gated_bottleneck": ((256, 64), (512, 32), (1024, 16), (2048, 8)),
}
# The cases of the project's targets.
TARGETS: tuple[tuple[str, int, int, int], ...] = (
    ("gated_inverted_residual", 96, 64, 32),
    ("gated_basic_block", 128, 32, 32),
    ("gated_inverted_residual", 96, 64, 1),
    ("gated_basic_block", 128, 32, 1),
    ("gated_bottleneck", 512, 32, 1),
)


def inputs(case: Case, seed: int) -> list[Tensor]:
    """x, then identity where the op has one, on the GPU."""
    generator = torch.Generator(device="cuda").manual_seed(seed)

    def random(c: int, h: int, w: int) -> Tensor:
        x = torch.randn(case.batch, c, h, w, device="cuda", generator=generator).to(case.dtype)
        return x.to(memory_format=torch.channels_last) if case.layout == "nhwc" else x

    x = random(case.channels, *case.grid)
    if case.block.identity_is_x:
        return [x]
    return [x, x if case.stride == 1 and case.channels == case.c_out else random(case.c_out, *case.output_grid)]


def parameters(case: Case, seed: int) -> list[Tensor]:
    """Weight and bias of each convolution in the op's layout, on the GPU."""
    sizes: dict[str | int, int] = {"C": case.channels, "Co": case.c_out}
    generator = torch.Generator(device="cuda").manual_seed(seed)
    tensors = []
    for index in range(len(case.block.convolutions)):
        shape = [n if isinstance(n, int) else sizes.get(n, case.width) for n in case.block.weight_shape(index)]
        depthwise = len(shape) == 3
        fan = 9 if depthwise else shape[1] * shape[2] * shape[3]
        weight = torch.randn(shape, device="cuda", generator=generator) / fan**0.5
        bias = torch.randn(shape[-1] if depthwise else shape[0], device="cuda", generator=generator)
        tensors += [weight.to(case.dtype), bias.to(case.dtype)]
    return tensors


def sparse(case: Case, tensors: list[Tensor], ops: Any = torch.ops.dyn2trt) -> Callable[[list[Tensor], Tensor], Tensor]:
    """The gated op: (x and identity, logits) → y."""
    op = getattr(ops, case.name)
    options = {"strides": (case.stride, case.stride)} if case.block.is_strided else {}

    def run(given: list[Tensor], logits: Tensor) -> Tensor:
        x, *identity = given
        y: Tensor = op(x, logits, *identity, *tensors, **options)
        return y

    return run


@dataclass(frozen=True)
class Layer:
    """One convolution of the block in torch's layout, padded so that it keeps the grid."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    groups: int


def dense_layers(case: Case, tensors: list[Tensor]) -> list[Layer]:
    """The block's convolutions for torch, weights in the layout of the case."""
    layout = torch.channels_last if case.layout == "nhwc" else torch.contiguous_format
    layers = []
    for convolution, weight, bias in zip(case.block.convolutions, tensors[::2], tensors[1::2], strict=True):
        depthwise = convolution.depthwise
        filters = weight.permute(2, 0, 1)[:, None] if depthwise else weight.permute(0, 3, 1, 2)
        filters = filters.contiguous(memory_format=layout)
        groups = filters.shape[0] if depthwise else 1
        layers.append(Layer(filters, bias, case.stride if convolution.strided else 1, filters.shape[-1] // 2, groups))
    return layers


def dense(case: Case, tensors: list[Tensor]) -> Callable[[list[Tensor]], Tensor]:
    """The same block ungated, by torch's convolutions, a kernel an operation."""
    layers = dense_layers(case, tensors)
    inner = functional.relu6 if case.name == "gated_inverted_residual" else functional.relu

    def run(given: list[Tensor]) -> Tensor:
        y = x = given[0]
        for i, layer in enumerate(layers):
            y = functional.conv2d(y, layer.weight, layer.bias, layer.stride, layer.padding, groups=layer.groups)
            if i < len(layers) - 1:
                y = inner(y)
        return x + y if len(given) == 1 else functional.relu(given[1] + y)

    return run
