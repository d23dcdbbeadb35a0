"""Automatic mixed precision that leaves the gates, and what predicts dynamic kernels, in fp32."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from dyn2trt.blocks.dynamic import CoefficientPredictor
from dyn2trt.blocks.precision import PRECISIONS
from dyn2trt.gates import GatePart


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Run what follows at ``precision`` where torch deems that safe; ``fp32`` changes nothing."""
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        yield


def keep_gates_in_fp32(network: nn.Module) -> None:
    """Make every mask unit of ``network`` compute in fp32 inside `autocast`, in place: one flip changes a position.

    So do the predictors of dynamic kernels, as after export (`dyn2trt.blocks.precision`).
    """
    for module in network.modules():
        if isinstance(module, GatePart | CoefficientPredictor):
            module.forward = functools.partial(_without_autocast, module.forward)  # type: ignore[method-assign]


def _without_autocast(forward: Callable[..., Any], x: torch.Tensor) -> Any:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x)


def make_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """The loss scaler that fp16 needs (Micikevicius et al., ICLR 2018, section 3.2); it does nothing otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
