"""Dynamic convolution: a layer's kernels are generated from the image (DyNet, Zhang et al. 2020, arXiv 2004.10694)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.errors import Dyn2trtError

KernelExecution = Literal["auto", "feature_maps", "fused"]


class CoefficientPredictor(nn.Module):
    """Coefficients of every kernel of a block, from its input (the paper's coefficient prediction module).

    Mean over the positions → linear → sigmoid. With ``hidden`` there are two linear layers, as in the paper's ResNets,
    which save weights so; it names no activation between them, and none is put there: behind the mean of a ReLU's
    output, with few features, one more ReLU can be zero for every image.

    Its arithmetic is that of its own weights' dtype, which stays float32 when a network is cast
    (`dyn2trt.blocks.precision`): the mean of a large fp16 map cannot overflow, and a coefficient keeps its digits.

    Args:
        channels: of the block's input.
        outputs: coefficients, the sum over the block's dynamic convolutions of output channels times kernels a channel.
        hidden: features between two linear layers, or None for one layer.
    """

    def __init__(self, channels: int, outputs: int, hidden: int | None = None) -> None:
        super().__init__()
        self.outputs = outputs
        widths = [channels, outputs] if hidden is None else [channels, hidden, outputs]
        self.linear = nn.Sequential()
        for features, more in itertools.pairwise(widths):
            self.linear.append(nn.Linear(features, more))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] → coefficients in (0, 1), [N, outputs], in the dtype of the predictor's weights."""
        pooled = x.to(next(self.parameters()).dtype).mean(dim=(2, 3))
        return torch.sigmoid(self.linear(pooled))


class DynamicConv2d(nn.Module):
    """A convolution whose kernel of each output channel is a sum, weighted by the image, of that channel's own kernels.

    Channel c owns ``kernels`` fixed kernels (the paper's g_t), rows c·kernels … c·kernels + kernels − 1 of ``weight``,
    and as many coefficients an image (the paper's dynamic generation module). The two executions are equal but for
    rounding, since a convolution is linear in its kernel:

    - ``feature_maps`` convolves with all fixed kernels, then weighs and sums the maps: ``kernels`` times the work, but
      a plain convolution whatever the batch. The paper trains so.
    - ``fused`` weighs and sums the kernels first, then convolves once: the deployed form. Each image has kernels of its
      own, so a batch of N is one convolution with N·groups groups of [1, N·C, H, W].
    - ``auto`` takes ``feature_maps`` to train on an accelerator and ``fused`` otherwise: on a CPU that is faster to
      train every kind of convolution (benchmarks/results/kernel_training.json).

    Attributes:
        weight: [out_channels·kernels, in_channels/groups, k, k].
        bias: [out_channels] or None; not dynamic.
        execution: see above and `set_kernel_execution`.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        *,
        kernels: int = 6,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if kernels < 1:
            raise Dyn2trtError(f"a dynamic convolution has 1 or more kernels a channel, not {kernels}")
        if in_channels % groups or out_channels % groups:
            raise Dyn2trtError(f"{groups} groups do not divide {in_channels} input and {out_channels} output channels")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernels = kernels
        self.execution: KernelExecution = "auto"
        shape = (out_channels * kernels, in_channels // groups, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_channels)) if bias else None)
        self.reset_parameters()

    @property
    def coefficients(self) -> int:
        """Coefficients that it takes for one image."""
        return self.out_channels * self.kernels

    def reset_parameters(self) -> None:
        """Draw the weights so that with coefficients of 1/2 the generated kernel has the variance of He et al., ICCV
        2015 (fan out, ReLU): the fixed kernels have 4/kernels times that variance."""
        fan_out = self.out_channels * self.kernel_size**2
        nn.init.normal_(self.weight, std=(2 / fan_out * 4 / self.kernels) ** 0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def generate(self, coefficients: Tensor) -> Tensor:
        """Return the kernels of each image, [N, out_channels, in_channels/groups, k, k], in the dtype of ``weight``."""
        n = coefficients.shape[0]
        weighing = coefficients.to(self.weight.dtype).reshape(n, self.out_channels, self.kernels)
        # One product a channel, [N, kernels] · [kernels, C/groups·k·k]: the fixed kernels are read once for all images.
        fixed = self.weight.reshape(self.out_channels, self.kernels, -1)
        generated = torch.bmm(weighing.transpose(0, 1), fixed).transpose(0, 1)
        return generated.reshape(n, self.out_channels, *self.weight.shape[1:])

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Convolve every image with its own kernels.

        Args:
            x: [N, in_channels, H, W].
            coefficients: [N, out_channels·kernels], a channel's side by side; cast to the dtype of the weights.

        Returns:
            [N, out_channels, Ho, Wo].
        """
        expected = (x.shape[0], self.coefficients)
        if tuple(coefficients.shape) != expected:
            raise Dyn2trtError(
                f"expected one coefficient an image and fixed kernel, {list(expected)}, not {list(coefficients.shape)}"
            )
        maps_suit = self.training and x.device.type != "cpu"
        as_maps = self.execution == "feature_maps" or (self.execution == "auto" and maps_suit)
        return self._feature_maps(x, coefficients) if as_maps else self._fused(x, coefficients)

    def _feature_maps(self, x: Tensor, coefficients: Tensor) -> Tensor:
        maps = F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)
        n, _, height, width = maps.shape
        weighing = coefficients.to(maps.dtype).reshape(n * self.out_channels, 1, self.kernels)
        y = torch.bmm(weighing, maps.reshape(n * self.out_channels, self.kernels, -1))
        y = y.reshape(n, self.out_channels, height, width)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _fused(self, x: Tensor, coefficients: Tensor) -> Tensor:
        n, _, height, width = x.shape
        kernels = self.generate(coefficients).flatten(0, 1)
        bias = self.bias if self.bias is None or n == 1 else self.bias.repeat(n)
        side_by_side = x.reshape(1, -1, height, width)
        y = F.conv2d(side_by_side, kernels, bias, self.stride, self.padding, self.dilation, n * self.groups)
        return y.reshape(n, self.out_channels, *y.shape[2:])

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, kernels={self.kernels}, "
            f"bias={self.bias is not None}, execution={self.execution}"
        )


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    kernels: int = 6,
) -> nn.Conv2d | DynamicConv2d:
    """A convolution without bias, padded to keep the size at stride 1; an ordinary one for ``kernels`` = 0."""
    padding = dilation * (kernel_size // 2)
    shape = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
    return DynamicConv2d(*shape, kernels=kernels) if kernels else nn.Conv2d(*shape, bias=False)


class DynamicBlock(nn.Module):
    """A block whose dynamic convolutions share one predictor, fed by the block's input.

    A subclass makes its convolutions (`convolution`), then calls `add_predictor`; its forward pass begins with
    `predict` and runs each convolution by `convolve`. A block without dynamic convolutions has ``predictor`` None and
    runs through the same two calls, so a static network of the same width is the same class. Such blocks do not nest.
    """

    predictor: CoefficientPredictor | None

    def dynamic_convolutions(self) -> tuple[DynamicConv2d, ...]:
        """In the order of definition, which is that of their coefficients in the predictor's output."""
        return tuple(module for module in self.modules() if isinstance(module, DynamicConv2d))

    def add_predictor(self, channels: int, hidden: int | None = None) -> None:
        """Make the predictor for an input of ``channels``; see `CoefficientPredictor`."""
        outputs = sum(convolution.coefficients for convolution in self.dynamic_convolutions())
        self.predictor = CoefficientPredictor(channels, outputs, hidden) if outputs else None

    def predict(self, x: Tensor) -> dict[nn.Module, Tensor]:
        """Coefficients of each dynamic convolution for the block's input [N, C, H, W]."""
        if self.predictor is None:
            return {}
        convolutions = self.dynamic_convolutions()
        parts = self.predictor(x).split([convolution.coefficients for convolution in convolutions], dim=1)
        return dict(zip(convolutions, parts, strict=True))

    @staticmethod
    def convolve(convolution: nn.Module, x: Tensor, coefficients: dict[nn.Module, Tensor]) -> Tensor:
        """Run one convolution of the block, dynamic or not, with what `predict` returned."""
        return convolution(x, coefficients[convolution]) if convolution in coefficients else convolution(x)


def dynamic_blocks(network: nn.Module) -> Iterator[tuple[str, DynamicBlock]]:
    """The blocks of ``network`` with a predictor, with their module paths, in the order of definition."""
    for name, module in network.named_modules():
        if isinstance(module, DynamicBlock) and module.predictor is not None:
            yield name, module


def set_kernel_execution(network: nn.Module, execution: KernelExecution) -> None:
    """Choose how every dynamic convolution of ``network`` runs: ``auto``, ``feature_maps`` or ``fused``.

    Raises:
        Dyn2trtError: another name.
    """
    if execution not in get_args(KernelExecution):
        raise Dyn2trtError(f"kernel execution is one of {', '.join(get_args(KernelExecution))}, not {execution!r}")
    for module in network.modules():
        if isinstance(module, DynamicConv2d):
            module.execution = execution


@dataclass(frozen=True)
class Coefficients:
    """What one predictor gave in one forward pass.

    Attributes:
        predictor: its module path, such as ``layer1.0.predictor``.
        coefficients: [N, outputs], float32 unless the network was cast as a whole.
    """

    predictor: str
    coefficients: Tensor


@contextmanager
def record_coefficients(network: nn.Module) -> Iterator[list[Coefficients]]:
    """Collect the coefficients that ``network`` predicts while the block lasts.

    Yields:
        A list that every forward pass extends, in execution order.
    """
    recorded: list[Coefficients] = []
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, CoefficientPredictor):

            def record(_predictor: nn.Module, _args: Any, output: Tensor, name: str = name) -> None:
                recorded.append(Coefficients(name, output))

            hooks.append(module.register_forward_hook(record))
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
