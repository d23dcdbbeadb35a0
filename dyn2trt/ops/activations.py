"""The activations of the contract in torch: as functions, as modules, and as torch itself calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from dyn2trt.contract import ACTIVATIONS


@dataclass(frozen=True)
class Activation:
    """``aten`` are the ATen ops that a call of the function, or of the module, may come down to."""

    function: Callable[[Tensor], Tensor]
    module: Callable[[], nn.Module]
    aten: tuple[str, ...]


BY_NAME = {
    "none": Activation(lambda x: x, nn.Identity, ()),
    "relu": Activation(F.relu, nn.ReLU, ("relu",)),
    "relu6": Activation(F.relu6, nn.ReLU6, ("hardtanh", "relu6")),
    "hard_swish": Activation(F.hardswish, nn.Hardswish, ("hardswish",)),
}


def activate(x: Tensor, activation: str) -> Tensor:
    """Apply one of `ACTIVATIONS`.

    Raises:
        ValueError: another name.
    """
    if activation not in BY_NAME:
        raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    return BY_NAME[activation].function(x)
