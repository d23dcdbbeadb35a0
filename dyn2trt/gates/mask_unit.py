"""Mask units: the small networks that give every output position of a block its logit."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dyn2trt.gates.gumbel import GumbelGate


class GatePart(nn.Module):
    """A module that gates decide by.

    Its arithmetic is that of its own weights' dtype, which stays float32 when a network is cast
    (`dyn2trt.blocks.precision`) or trained in mixed precision: one flipped decision changes a whole position. Its
    multiply-accumulates count as the gates' (`dyn2trt.macs`).
    """


class MaskUnit(GatePart):
    """What decides for a block: returns logits and mask, both [N, 1, Ho, Wo]; a position is active where logit ≥ 0.

    Attributes:
        decides: on what: ``positions``, each for itself; ``layer``: the whole block, for an image; ``halting``:
            positions that are done stay idle in the blocks that follow.
    """

    decides: ClassVar[str] = "positions"

    def initialise(self) -> None:
        """Set the initial weights that the unit's own paper asks for, after the network's have been drawn."""

    def open(self, logit: float) -> None:
        """Set the weights so that every position is active whatever the input; the larger ``logit``, the more firmly.

        It is the logit itself of a unit that computes one from the block's input.
        """
        raise NotImplementedError


class GumbelMaskUnit(MaskUnit):
    """A mask unit that computes its logits from the block's input, and learns through a Gumbel-Softmax.

    A subclass sets ``maskconv``, which computes the logits.
    """

    maskconv: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.gumbel = GumbelGate()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Decide for every position.

        Args:
            x: the block's input [N, C, H, W].

        Returns:
            logits and mask (0 or 1, straight-through gradient in training), both [N, 1, Ho, Wo] in the dtype of the
            unit's weights.
        """
        logits = self.maskconv(x.to(next(self.parameters()).dtype))
        return logits, self.gumbel(logits)

    @torch.no_grad()
    def open(self, logit: float) -> None:
        for parameter in self.parameters():
            parameter.zero_()
        # A pointwise unit is one convolution, a squeeze unit a convolution and a linear layer whose results add up.
        convolution = next(m for m in self.modules() if isinstance(m, nn.Conv2d))
        assert convolution.bias is not None
        convolution.bias.fill_(logit)


class PointwiseMaskUnit(GumbelMaskUnit):
    """1×1 convolution, strided like the block. The authors' mask unit for pose networks."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.maskconv = nn.Conv2d(channels, 1, kernel_size=1, stride=stride)


class Squeeze(nn.Module):
    """3×3 convolution plus a linear layer of the globally pooled input: [N, C, H, W] → [N, 1, Ho, Wo]."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 1)
        self.conv = nn.Conv2d(channels, 1, kernel_size=3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.fc(x.mean(dim=(2, 3)))
        return self.conv(x) + pooled[:, :, None, None]


class SqueezeMaskUnit(GumbelMaskUnit):
    """Local and global context ("squeeze unit"). The authors' mask unit for classification networks."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.maskconv = Squeeze(channels, stride)
