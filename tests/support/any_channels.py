"""A user's gated network for images of any number of channels."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks import InvertedResidual


class Gated(nn.Module):
    """[N, channels, H, W] → [N, 4]; ``bias`` of its one gate's logits decides what share of positions is active."""

    def __init__(self, channels: int = 3, bias: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.block = InvertedResidual(8, 8)
        self.head = nn.Linear(8, 4)
        assert self.block.masker is not None
        logits = [module for module in self.block.masker.modules() if isinstance(module, nn.Conv2d)][-1]
        assert logits.bias is not None
        nn.init.constant_(logits.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x)).mean(dim=(2, 3)))


def gated(channels: int = 3, bias: float = 0.0) -> nn.Module:
    return Gated(channels, bias)
