"""Dense rivals of a gated block that a TensorRT user would accept, each named by what it is.

Eager torch is none: there each bias, activation and addition is a kernel of its own, which TensorRT fuses. It is
measured for information. The rivals are

- ``convolutions``: the sum of cuDNN's convolution kernels, by the profiler. Nothing else is counted, so that no dense
  execution by cuDNN's kernels can be faster: the strictest one;
- ``fused``: cuDNN's convolution with bias, ReLU and addition in one kernel, as far as torch offers it;
- ``compiled``: torch.compile, max-autotune.

The fastest of them decides.
"""

from __future__ import annotations

from collections.abc import Callable

import gpu_block_cases as blocks
import torch
from torch import Tensor
from torch.nn import functional


def fused(case: blocks.Case, tensors: list[Tensor]) -> Callable[[list[Tensor]], Tensor] | None:
    """The block ungated, by ``torch.cudnn_convolution_relu`` and ``..._add_relu``; None for fp32, as cuDNN refuses it.

    An inverted residual's ReLU6 is computed as ReLU, which cuDNN fuses and which costs the same; its last convolution
    and addition stay two kernels, for cuDNN's fused addition always ends in a ReLU.
    """
    if case.dtype == torch.float32:
        return None
    layers = blocks.dense_layers(case, tensors)

    def run(given: list[Tensor]) -> Tensor:
        y = x = given[0]
        *inner, last = layers
        for layer in inner:
            y = torch.cudnn_convolution_relu(
                y, layer.weight, layer.bias, [layer.stride] * 2, [layer.padding] * 2, [1, 1], layer.groups
            )
        if case.name == "gated_inverted_residual":
            return x + functional.conv2d(y, last.weight, last.bias)
        return torch.cudnn_convolution_add_relu(
            y, last.weight, given[1], 1.0, last.bias, [last.stride] * 2, [last.padding] * 2, [1, 1], last.groups
        )

    return run


def fastest(times_us: dict[str, float | None]) -> str:
    """Name of the rival that takes the least; those that are None did not run."""
    ran = {name: us for name, us in times_us.items() if us is not None}
    return min(ran, key=lambda name: ran[name])
