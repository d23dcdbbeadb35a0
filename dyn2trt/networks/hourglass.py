"""Stacked hourglass of gated inverted residuals, for human pose."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks import InvertedResidual
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.options import MaskUnit, Meaning
from dyn2trt.networks.registry import network

_DEPTH = 4


class Hourglass(nn.Module):
    """One hourglass of four scales (Newell et al., ECCV 2016, figure 3): [N, C, H, W] → the same, H and W by 16."""

    def __init__(self, channels: int, blocks: int, mask_unit: str) -> None:
        super().__init__()
        # A scale holds: skip, down, up, and at the smallest scale the bottom. The last scale of the list is the
        # largest one.
        self.hg = nn.ModuleList(
            nn.ModuleList(_blocks(channels, blocks, mask_unit) for _ in range(4 if scale == 0 else 3))
            for scale in range(_DEPTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._scale(_DEPTH - 1, x)

    def _scale(self, scale: int, x: Tensor) -> Tensor:
        residuals = self.hg[scale]
        assert isinstance(residuals, nn.ModuleList)
        skip, down, up, *bottom = residuals
        kept = skip(x)
        low = down(F.max_pool2d(x, 2))
        low = bottom[0](low) if scale == 0 else self._scale(scale - 1, low)
        return kept + F.interpolate(up(low), scale_factor=2.0, mode="nearest")


class StackedHourglass(nn.Module):
    """The DynConv authors' pose network: a stem, then hourglasses that each give one heat map per joint.

    [N, 3, H, W], H and W multiples of 64 → one [N, joints, H/4, W/4] a stack. Parameter names are those of the
    authors' ``HourglassNet``.

    Attributes:
        size_multiple: of height and width; export to a dynamic size reads it.
    """

    size_multiple = 4 * 2**_DEPTH

    def __init__(self, stacks: int, features: int, joints: int, blocks: int, mask_unit: str) -> None:
        super().__init__()
        stem = features // 4
        channels = features // 2 * 2
        self.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = nn.Sequential(InvertedResidual(stem, 2 * stem, mask_unit=mask_unit))
        self.layer2 = nn.Sequential(InvertedResidual(2 * stem, 4 * stem, mask_unit=mask_unit))
        self.layer3 = nn.Sequential(InvertedResidual(4 * stem, channels, mask_unit=mask_unit))
        self.hg = nn.ModuleList(Hourglass(channels, blocks, mask_unit) for _ in range(stacks))
        self.res = nn.ModuleList(_blocks(channels, blocks, mask_unit) for _ in range(stacks))
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()) for _ in range(stacks)
        )
        self.score = nn.ModuleList(nn.Conv2d(channels, joints, 1) for _ in range(stacks))
        self.fc_ = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.score_ = nn.ModuleList(nn.Conv2d(joints, channels, 1) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.shape[2] % self.size_multiple or x.shape[3] % self.size_multiple:
            raise Dyn2trtError(
                f"hourglass takes heights and widths that are multiples of {self.size_multiple}, not "
                f"{x.shape[2]}x{x.shape[3]}; resize or pad the input"
            )
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(F.max_pool2d(x, 2)))
        heat_maps = []
        for stack, (hourglass, res, fc, score) in enumerate(zip(self.hg, self.res, self.fc, self.score, strict=True)):
            y = fc(res(hourglass(x)))
            heat_maps.append(score(y))
            if stack < len(self.fc_):
                x = x + self.fc_[stack](y) + self.score_[stack](heat_maps[-1])
        return tuple(heat_maps)


def _blocks(channels: int, blocks: int, mask_unit: str) -> nn.Sequential:
    return nn.Sequential(*(InvertedResidual(channels, channels, mask_unit=mask_unit) for _ in range(blocks)))


@network(
    "stacked hourglass of gated inverted residuals", dynamic="positions", task="pose", input_shape=(1, 3, 256, 256)
)
def hourglass(
    stacks: Annotated[int, Meaning("hourglasses, each with one heat map per joint", above=0)] = 4,
    features: Annotated[int, Meaning("channels", above=3)] = 96,
    joints: Annotated[int, Meaning("joints", above=0)] = 16,
    blocks: Annotated[int, Meaning("inverted residuals per place", above=0)] = 1,
    mask_unit: MaskUnit = "pointwise",
) -> StackedHourglass:
    """Build the stacked hourglass; ``features`` channels, ``blocks`` inverted residuals per place."""
    return StackedHourglass(stacks, features, joints, blocks, mask_unit)
