"""A gate that decides on a whole layer: for each image, all positions of a block or none."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dyn2trt.gates.mask_unit import GumbelMaskUnit

_HIDDEN = 16


class LayerScore(nn.Module):
    """Pool → 1×1 (16) → BatchNorm → ReLU → 1×1 (2): [N, C, H, W] → [N, 1, Ho, Wo], one value an image.

    The two scores are those of skipping and of executing the layer, and the logit is their difference: of their binary
    softmax, executing has the probability sigmoid(logit).
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.fc1 = nn.Conv2d(channels, _HIDDEN, kernel_size=1)
        self.fc1bn = nn.BatchNorm2d(_HIDDEN)
        self.fc2 = nn.Conv2d(_HIDDEN, 2, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = ((size - 1) // self.stride + 1 for size in x.shape[2:])
        skip, execute = self.fc2(torch.relu(self.fc1bn(self.fc1(x.mean(dim=(2, 3), keepdim=True))))).chunk(2, dim=1)
        return (execute - skip).expand(-1, -1, height, width)


class LayerMaskUnit(GumbelMaskUnit):
    """The gate of ConvNet-AIG (Veit & Belongie, ECCV 2018, section 3.2; layers are named as in the authors' code).

    Executing or skipping a layer is a mask over its positions that is 1 or 0 throughout an image, so the ops for
    positions run it. The one noise sample that an image's decision needs is spread over its positions too.
    """

    decides: ClassVar[str] = "layer"

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.maskconv = LayerScore(channels, stride)
        self.initialise()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.maskconv(x.to(next(self.parameters()).dtype))
        return logits, self.gumbel(logits[:, :, :1, :1]).expand_as(logits)

    @torch.no_grad()
    def initialise(self) -> None:
        """The authors' start: small weights, and biases by which 87 % of the layers execute."""
        last = self._last
        nn.init.normal_(last.weight, std=0.001)
        assert last.bias is not None
        last.bias.copy_(torch.tensor([0.1, 2.0]))

    @torch.no_grad()
    def open(self, logit: float) -> None:
        last = self._last
        assert last.bias is not None
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, logit]))

    @property
    def _last(self) -> nn.Conv2d:
        assert isinstance(self.maskconv, LayerScore)
        return self.maskconv.fc2
