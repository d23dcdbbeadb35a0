"""Blocks for a user's own networks, gated or of dynamic convolutions, and what is done to all blocks of a network."""

from dyn2trt.blocks.base import GatedBlock, Stage, all_blocks, gated_blocks, set_execution
from dyn2trt.blocks.basic import BasicBlock
from dyn2trt.blocks.bottleneck import Bottleneck
from dyn2trt.blocks.dynamic import (
    CoefficientPredictor,
    DynamicBlock,
    DynamicConv2d,
    dynamic_blocks,
    record_coefficients,
    set_kernel_execution,
)
from dyn2trt.blocks.dynamic_residual import DynamicBasicBlock, DynamicBottleneck
from dyn2trt.blocks.halting import HaltingStage, halting_stages
from dyn2trt.blocks.inverted_residual import InvertedResidual

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "CoefficientPredictor",
    "DynamicBasicBlock",
    "DynamicBlock",
    "DynamicBottleneck",
    "DynamicConv2d",
    "GatedBlock",
    "HaltingStage",
    "InvertedResidual",
    "Stage",
    "all_blocks",
    "dynamic_blocks",
    "gated_blocks",
    "halting_stages",
    "record_coefficients",
    "set_execution",
    "set_kernel_execution",
]
