"""A mask unit as the gate that its block's op computes itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dyn2trt.blocks.batchnorm import is_plain_batchnorm, is_untouched
from dyn2trt.gates.layer import LayerMaskUnit, LayerScore
from dyn2trt.gates.mask_unit import MaskUnit, PointwiseMaskUnit, Squeeze, SqueezeMaskUnit


@dataclass(frozen=True)
class OwnedGate:
    """``kind`` is a name of `dyn2trt.contract.GATES`; ``weights`` are float32, in the order of its parameters."""

    kind: str
    weights: tuple[Tensor, ...]


def owned_gate(unit: MaskUnit | None) -> OwnedGate | None:
    """Return the gate of ops that decides as ``unit`` does, None where there is none.

    Only the units of `dyn2trt.gates` as they are: a subclass, or a unit whose layers somebody replaced, parametrised or
    hung a hook on, may compute something else.
    """
    if unit is None or not is_untouched(unit):
        return None
    if type(unit) is PointwiseMaskUnit:
        return _pointwise(unit.maskconv)
    if type(unit) is SqueezeMaskUnit and _is(unit.maskconv, Squeeze):
        return _squeeze(unit.maskconv)
    if type(unit) is LayerMaskUnit and _is(unit.maskconv, LayerScore):
        return _layer(unit.maskconv)
    return None


def _pointwise(conv: nn.Module) -> OwnedGate | None:
    if not _is_convolution(conv, 1):
        return None
    assert isinstance(conv, nn.Conv2d)
    return OwnedGate("pointwise", (conv.weight.flatten(), _bias(conv)))


def _squeeze(score: nn.Module) -> OwnedGate | None:
    assert isinstance(score, Squeeze)
    conv, fc = score.conv, score.fc
    if not _is_convolution(conv, 3) or not _is(fc, nn.Linear):
        return None
    return OwnedGate("squeeze", (conv.weight[0].permute(1, 2, 0), _bias(conv), fc.weight.flatten(), _bias(fc)))


def _layer(score: nn.Module) -> OwnedGate | None:
    assert isinstance(score, LayerScore)
    first, norm, last = score.fc1, score.fc1bn, score.fc2
    if not all(_is(conv, nn.Conv2d) and conv.kernel_size == (1, 1) for conv in (first, last)):
        return None
    if _is(norm, nn.Identity):  # folded into the first layer already
        return OwnedGate("layer", (first.weight.flatten(1), _bias(first), last.weight.flatten(1), _bias(last)))
    if not is_plain_batchnorm(norm) or norm.training:
        return None
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return None
    weight, bias = fuse_conv_bn_weights(
        *(first.weight.detach().double(), _bias(first).double(), mean.double(), variance.double(), norm.eps),
        *(norm.weight.detach().double(), norm.bias.detach().double()),
    )
    hidden = weight.detach().to(first.weight.dtype).flatten(1), bias.detach().to(first.weight.dtype)
    return OwnedGate("layer", (*hidden, last.weight.flatten(1), _bias(last)))


def _is(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling ``module`` does what ``kind`` does: a parametrised module is of a class of its own."""
    return type(module) is kind and is_untouched(module)


def _is_convolution(module: nn.Module, kernel: int) -> bool:
    return (
        _is(module, nn.Conv2d)
        and isinstance(module, nn.Conv2d)
        and (module.out_channels, module.kernel_size, module.groups) == (1, (kernel, kernel), 1)
        and (module.padding, module.dilation) == ((kernel // 2, kernel // 2), (1, 1))
        and module.padding_mode == "zeros"
    )


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias.detach()
