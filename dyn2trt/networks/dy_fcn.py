"""Dilated FCN on Dy-ResNet50, for semantic segmentation (DyNet, Zhang et al. 2020, arXiv 2004.10694, section 4.4)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.networks.dy_resnet import STEM, DyResNetTrunk
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.options import Classes, Kernels, Meaning, StageWidth, Stem
from dyn2trt.networks.registry import network

FEATURES = 448
"""Channels in the head that come to the paper's count; see `DyFCN`."""


class DyFCN(nn.Module):
    """[N, 3, H, W] → class scores of every pixel, [N, classes, H, W], upsampled bilinearly by 8.

    The trunk is `DyResNetTrunk` of depth 50 with dilations in place of the strides of its last two stages. The head is
    that of the dilated FCN which the paper compares with (Fu et al., CVPR 2019, and its code): 3×3 → BatchNorm → ReLU →
    dropout → 1×1, static.

    Multiply-accumulates: the static FCN on ResNet-50 (width 1, stem 64, features 512, kernels 0) has 310.4 G at
    768×768, the crop of Fu et al. for Cityscapes with its 19 classes, where the paper's table 3 has 310.8 G. The text
    does not tell the head's channels over Dy-ResNet50: the static head's 512 come to 100.4 G, and a quarter of the
    trunk's channels, as in the static network, to 78.6 G; the default of 448 comes to 95.0 G, the paper has 95.6 G.
    """

    def __init__(self, width: float, stem: int, features: int, classes: int, kernels: int) -> None:
        super().__init__()
        self.backbone = DyResNetTrunk(50, width, stem, kernels, dilated=True)
        self.head = nn.Sequential(
            nn.Conv2d(self.backbone.channels, features, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(features, classes, kernel_size=1),
        )
        kaiming(self)
        self.backbone.initialise_branches()

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.backbone(x))
        return F.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


@network(
    "dilated FCN on Dy-ResNet50 for Cityscapes (DyNet)",
    dynamic="kernels",
    task="segmentation",
    input_shape=(1, 3, 768, 768),
)
def dy_fcn(
    width: StageWidth = 0.5,
    stem: Stem = STEM,
    features: Annotated[int, Meaning("channels of the head", above=0)] = FEATURES,
    classes: Classes = 19,
    kernels: Kernels = 6,
) -> DyFCN:
    """Build the dilated FCN; ``features`` are the head's channels, for the rest see `dyn2trt.networks.dy_resnet`."""
    return DyFCN(width, stem, features, classes, kernels)
