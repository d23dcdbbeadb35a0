"""Mask units: the small networks that give every output position of a block its logit."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.gates.gumbel import GumbelGate


class MaskUnit(nn.Module):
    """Logits of a block's positions, and the decision on them.

    A subclass sets ``maskconv``. The logits are computed in the dtype of the unit's own weights, which stays float32
    when a network is cast (`dyn2trt.blocks.precision`): one flipped decision changes a whole position.
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


class PointwiseMaskUnit(MaskUnit):
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


class SqueezeMaskUnit(MaskUnit):
    """Local and global context ("squeeze unit"). The authors' mask unit for classification networks."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.maskconv = Squeeze(channels, stride)


_BY_NAME = {"pointwise": PointwiseMaskUnit, "squeeze": SqueezeMaskUnit}


def make_mask_unit(kind: str, channels: int, stride: int = 1) -> MaskUnit:
    """Build the mask unit named ``pointwise`` or ``squeeze`` for a block with ``channels`` inputs.

    Raises:
        ValueError: another name.
    """
    if kind not in _BY_NAME:
        raise ValueError(f"a mask unit is one of {', '.join(_BY_NAME)}, not {kind!r}")
    return _BY_NAME[kind](channels, stride)
