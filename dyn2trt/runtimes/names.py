"""Names of the tensors that sessions take and give, the same in every runtime."""

from __future__ import annotations

from dyn2trt.export.metadata import COEFFICIENTS_PREFIX as COEFFICIENTS
from dyn2trt.export.metadata import FORCED_PREFIX as FORCED
from dyn2trt.export.metadata import INPUT as INPUT
from dyn2trt.export.metadata import LOGITS_PREFIX as LOGITS
from dyn2trt.export.metadata import MASK_PREFIX as MASK

__all__ = ["COEFFICIENTS", "FORCED", "INPUT", "LOGITS", "MASK", "block_input", "block_output"]


def block_input(block: str) -> str:
    """What enters a gated block or a dynamic convolution, float32 [N, C, H, W]."""
    return f"{block}:in"


def block_output(block: str) -> str:
    """What leaves it, float32 [N, Co, Ho, Wo]."""
    return f"{block}:out"
