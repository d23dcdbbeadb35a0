"""Gates of a random network that decide for a share of the sites that is wanted, on an input like a photograph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dyn2trt.blocks import set_execution
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import MaskUnit
from dyn2trt.gates.mask_unit import GumbelMaskUnit

COARSE = 16
"""Pixels between the random values of an input, so that active sites lie together as they do on photographs."""


def smooth_input(shape: tuple[int, ...], device: str) -> Tensor:
    """Random [N, C, H, W] that changes slowly, unit variance, channels-last."""
    generator = torch.Generator(device=device).manual_seed(0)
    n, c, h, w = shape
    coarse = torch.randn(n, c, -(-h // COARSE) + 1, -(-w // COARSE) + 1, device=device, generator=generator)
    x = functional.interpolate(coarse, (h, w), mode="bilinear", align_corners=True)
    return (x / x.std()).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def calibrate(network: nn.Module, x: Tensor, ratio: float) -> None:
    """Shift the bias of each gate so that a share ``ratio`` of its logits on ``x`` is ≥ 0.

    In the order of execution, in float32, masked: each gate sees what the gates before it let through once shifted.

    Args:
        network: in evaluation mode; its gates are changed in place.

    Raises:
        Dyn2trtError: a gate has no bias of its own, as halting units do not.
    """
    set_execution(network, "masked")
    units = [module for module in network.modules() if isinstance(module, MaskUnit)]
    if other := next((unit for unit in units if not isinstance(unit, GumbelMaskUnit)), None):
        raise Dyn2trtError(f"{type(other).__name__} has no bias to shift; use --patterns blobs")

    def shift(unit: GumbelMaskUnit, _: object, decision: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        logits, _ = decision
        level = torch.quantile(logits.float().flatten(), 1 - ratio) if ratio < 1 else logits.min() - 1
        _bias(unit).sub_(level.to(logits.dtype))
        return logits - level, (logits >= level).to(logits.dtype)

    hooks = [unit.register_forward_hook(shift) for unit in units]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()


def _bias(unit: GumbelMaskUnit) -> Tensor:
    """The one number that every logit of the unit has in it as a summand: the last entry of its last bias."""
    layers = [m for m in unit.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    bias = layers[-1].bias
    assert bias is not None
    return bias.data[-1:]
