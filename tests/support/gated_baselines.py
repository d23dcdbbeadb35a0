"""Small ConvNet-AIG and SACT networks whose untrained gates decide now this way, now that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from dyn2trt.blocks import Bottleneck
from dyn2trt.gates import HaltingMaskUnit, LayerMaskUnit
from dyn2trt.networks.resnet import ResNet
from dyn2trt.networks.stages import HALTING
from dyn2trt.networks.zoo import build_network

BOTTLENECKS = (1, 3, 2, 1)
"""Of the ImageNet networks' stages; fewer than depth 50 has, and with the same op."""

OPTIONS = {
    "cifar_convnet_aig": {"depth": 14, "width": 0.5},
    "cifar_sact": {"depth": 20, "width": 0.5},
}
"""Of the zoo's networks for small images."""

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "cifar_convnet_aig": (partial(build_network, "cifar_convnet_aig", OPTIONS["cifar_convnet_aig"]), (32, 32)),
    "convnet_aig": (lambda: ResNet(Bottleneck, BOTTLENECKS, 0.0625, 7, "layer"), (64, 64)),
    "cifar_sact": (partial(build_network, "cifar_sact", OPTIONS["cifar_sact"]), (32, 32)),
    "sact": (lambda: ResNet(Bottleneck, BOTTLENECKS, 0.0625, 7, HALTING), (64, 64)),
}


@torch.no_grad()
def build(name: str, seed: int = 1) -> nn.Module:
    """The network in evaluation mode: layers skipped for some images and not for others, halts at different units."""
    torch.manual_seed(seed)
    network = NETWORKS[name][0]().eval()
    for unit in network.modules():
        if isinstance(unit, LayerMaskUnit):
            nn.init.normal_(unit.maskconv.fc2.weight)
            nn.init.normal_(unit.maskconv.fc2.bias)
        elif isinstance(unit, HaltingMaskUnit):
            unit.score.squeeze.conv.weight.mul_(4)
            nn.init.constant_(unit.score.squeeze.conv.bias, 0.0)
        elif isinstance(unit, nn.BatchNorm2d):
            unit.running_mean.normal_(0, 0.1)
            unit.running_var.uniform_(0.7, 1.4)
    return network


def images(name: str, batch: int) -> torch.Tensor:
    """Of different brightness, so that a layer's gate does not see the same in all."""
    torch.manual_seed(batch)
    return torch.randn(batch, 3, *NETWORKS[name][1]) * torch.linspace(0.3, 3, batch)[:, None, None, None]
