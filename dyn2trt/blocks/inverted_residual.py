"""MobileNetV2's inverted residual block, gated where it is an identity block."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks.base import GatedBlock
from dyn2trt.blocks.convolution import conv1x1, conv3x3
from dyn2trt.contract.blocks import INVERTED_RESIDUAL
from dyn2trt.gates.kinds import make_mask_unit

_ACTIVATION_MODULES = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hard_swish": nn.Hardswish}


class InvertedResidual(GatedBlock):
    """1×1 expand → 3×3 depthwise → 1×1 project, added to the input (Sandler et al., CVPR 2018, section 3.3).

    An identity block, one with stride 1 and as many inputs as outputs, adds its input; only such a block that also
    expands can have a gate. Expand runs at the halo of the active set, the rest at the active set.

    Args:
        inp: input channels.
        oup: output channels.
        stride: 1 or 2.
        expand_ratio: channels inside, as a multiple of ``inp``; 1 leaves expand out.
        mask_unit: ``pointwise``, ``squeeze`` or ``layer``; ``none`` or None for a block without a gate. A block that
            cannot have a gate gets none.
        activation: ``relu6``, ``relu`` or ``hard_swish``, after expand and depthwise.
        grouped: naming of the parameters. False: ``conv.0``, ``conv.1``, ``conv.3``, ... as in the DynConv authors'
            hourglass; True: ``conv.0.0``, ``conv.0.1``, ``conv.1.0``, ... as in torchvision's MobileNetV2.
    """

    kind = INVERTED_RESIDUAL

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int = 1,
        expand_ratio: float = 6,
        *,
        mask_unit: str | None = "pointwise",
        activation: str = "relu6",
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.activation = activation
        self.is_identity = stride == 1 and inp == oup
        hidden = round(inp * expand_ratio)
        layers: list[list[nn.Module]] = []
        if expand_ratio != 1:
            layers.append([conv1x1(inp, hidden), nn.BatchNorm2d(hidden), _ACTIVATION_MODULES[activation]()])
        layers.append(
            [conv3x3(hidden, hidden, stride, groups=hidden), nn.BatchNorm2d(hidden), _ACTIVATION_MODULES[activation]()]
        )
        linear = [conv1x1(hidden, oup), nn.BatchNorm2d(oup)]
        inner = [nn.Sequential(*layer) for layer in layers] if grouped else [m for layer in layers for m in layer]
        self.conv = nn.Sequential(*inner, *linear)
        can_gate = self.is_identity and expand_ratio != 1
        self.masker = make_mask_unit(mask_unit if can_gate else None, inp, stride)

    def layers(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        convolutions = [m for m in self.conv.modules() if isinstance(m, nn.Conv2d)]
        batchnorms = [m for m in self.conv.modules() if isinstance(m, nn.BatchNorm2d | nn.Identity)]
        return list(zip(convolutions, batchnorms, strict=True))

    def branch(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def identity(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor, decision: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return super().forward(x, decision) if self.is_identity else self.branch(x)
