"""A mask unit as the gate that its block's op computes itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dyn2trt.blocks.batchnorm import folded_weights
from dyn2trt.gates.layer import LayerMaskUnit, LayerScore
from dyn2trt.gates.mask_unit import MaskUnit, PointwiseMaskUnit, Squeeze, SqueezeMaskUnit


@dataclass(frozen=True)
class OwnedGate:
    """``kind`` is a name of `dyn2trt.contract.GATES`; ``weights`` are float32, in the order of its parameters."""

    kind: str
    weights: tuple[Tensor, ...]


def owned_gate(unit: MaskUnit | None) -> OwnedGate | None:
    """Return the gate of ops that decides as ``unit`` does, None where there is none.

    Only the units of `dyn2trt.gates` as they are: a subclass, or a unit whose layers somebody replaced, may compute
    something else.
    """
    if type(unit) is PointwiseMaskUnit and _is_convolution(unit.maskconv, 1):
        return OwnedGate("pointwise", (unit.maskconv.weight.flatten(), _bias(unit.maskconv)))
    if type(unit) is SqueezeMaskUnit and type(unit.maskconv) is Squeeze and _is_convolution(unit.maskconv.conv, 3):
        conv, fc = unit.maskconv.conv, unit.maskconv.fc
        return OwnedGate("squeeze", (conv.weight[0].permute(1, 2, 0), _bias(conv), fc.weight.flatten(), _bias(fc)))
    if type(unit) is LayerMaskUnit and type(unit.maskconv) is LayerScore:
        weight, bias = folded_weights(unit.maskconv.fc1, unit.maskconv.fc1bn)
        last = unit.maskconv.fc2
        return OwnedGate("layer", (weight.flatten(1), bias, last.weight.flatten(1), _bias(last)))
    return None


def _is_convolution(module: nn.Module, kernel: int) -> bool:
    return (
        type(module) is nn.Conv2d
        and (module.out_channels, module.kernel_size, module.groups) == (1, (kernel, kernel), 1)
        and (module.padding, module.dilation) == ((kernel // 2, kernel // 2), (1, 1))
    )


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias
