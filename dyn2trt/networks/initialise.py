"""Initial weights of the classification networks."""

from __future__ import annotations

from torch import nn


def kaiming(network: nn.Module) -> None:
    """Draw every convolution by He et al., ICCV 2015 (fan out, ReLU), mask units included; set BatchNorm to 1 and 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
