"""What a batch executed, block by block, with the gradient that a criterion needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dyn2trt.gates import Decision
from dyn2trt.macs import BlockMacs, MacReport


def executed_fractions(report: MacReport, decisions: Sequence[Decision]) -> Tensor:
    """The fraction of its multiply-accumulates that each block executed over the batch, float64 [number of blocks].

    Raises:
        ValueError: the decisions are of other blocks, in number or order, than the report.
    """
    ran, counted = [decision.block for decision in decisions], [block.name for block in report.blocks]
    if ran != counted:
        raise ValueError(f"expected one decision for each of {counted}, in this order; these are of {ran}")
    return torch.stack([_fraction(b, d.mask) for b, d in zip(report.blocks, decisions, strict=True)])


def _fraction(block: BlockMacs, mask: Tensor) -> Tensor:
    return block.executed(mask).sum() / (mask.shape[0] * block.macs_total)


def executed_fraction(report: MacReport, blocks: Tensor) -> Tensor:
    """The fraction of all gated blocks' multiply-accumulates, scalar, given each block's by `executed_fractions`."""
    weights = torch.tensor([b.macs_total for b in report.blocks], dtype=blocks.dtype, device=blocks.device)
    return (blocks * weights).sum() / weights.sum()
