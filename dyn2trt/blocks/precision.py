"""Precision of a network's weights and arithmetic."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dyn2trt.blocks.base import GatedBlock
from dyn2trt.blocks.dynamic import CoefficientPredictor
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.mask_unit import GatePart

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NAMED = 3
"""Weights that a message names."""


def to_precision(network: nn.Module, precision: str) -> nn.Module:
    """Return a copy of a float32 ``network`` whose weights are ``fp32``, ``fp16`` or ``bf16``.

    Mask units and coefficient predictors stay float32 and cast their input. The copy still takes and gives float32: it
    casts its first argument on entry and its outputs on return.

    Raises:
        Dyn2trtError: another precision, or weights that it cannot hold.
    """
    if precision not in PRECISIONS:
        raise Dyn2trtError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    cast = copy.deepcopy(network)
    if precision == "fp32":
        return cast
    _cast_weights(cast, PRECISIONS[precision])
    _check_range(network, cast, precision)
    cast.register_forward_pre_hook(_cast_input(PRECISIONS[precision]))
    cast.register_forward_hook(_cast_outputs)
    return cast


def _check_range(network: nn.Module, cast: nn.Module, precision: str) -> None:
    before, after = (dict([*module.named_parameters(), *module.named_buffers()]) for module in (network, cast))
    beyond = [name for name in before if bool((before[name].isfinite() & ~after[name].isfinite()).any())]
    if beyond:
        named = ", ".join(f"{name} (up to {float(before[name].abs().max()):.3g})" for name in beyond[:_NAMED])
        more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
        better = "bf16 or fp32" if precision == "fp16" else "fp32"
        raise Dyn2trtError(
            f"{precision} ends at {torch.finfo(PRECISIONS[precision]).max:.5g}, and weights, with BatchNorm folded in, "
            f"are beyond: {named}{more}; use {better}"
        )


def _cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    if isinstance(module, GatePart | CoefficientPredictor):
        return
    for child in module.children():
        _cast_weights(child, dtype)
    module._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, recurse=False)


def accept_float32(network: nn.Module) -> None:
    """Let layers and gated blocks of a cast ``network`` cast what they are given too, in place.

    A tensor that a forward makes, or keeps as a plain attribute, is float32 and makes the features float32 as well.
    """
    for module in network.modules():
        if isinstance(module, GatedBlock) or type(module).__module__.startswith("torch.nn.modules."):
            first = module.stages()[0].convolution if isinstance(module, GatedBlock) else module
            like = next(first.parameters(recurse=False), None)
            if like is not None and like.dtype in (torch.float16, torch.bfloat16):
                module.register_forward_pre_hook(_cast_input(like.dtype))


def _cast_input(dtype: torch.dtype) -> Any:
    def cast(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not args or not isinstance(args[0], Tensor) or args[0].dtype == dtype or not args[0].is_floating_point():
            return args
        return (args[0].to(dtype), *args[1:])

    return cast


def _cast_outputs(_network: nn.Module, _args: Any, outputs: Any) -> Any:
    """Tensors of floating point wherever they are; counts and classes stay what they are."""
    return tree_map_only(Tensor, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, outputs)
