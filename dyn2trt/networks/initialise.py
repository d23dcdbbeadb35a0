"""Initial weights of the classification networks."""

from __future__ import annotations

from torch import nn

from dyn2trt.gates import MaskUnit


def kaiming(network: nn.Module) -> None:
    """Draw every convolution by He et al., ICCV 2015 (fan out, ReLU), mask units included; set BatchNorm to 1 and 0.

    A mask unit whose paper asks for other initial weights then sets them (`MaskUnit.initialise`).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, MaskUnit):
            module.initialise()
