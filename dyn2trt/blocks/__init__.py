"""Gated residual blocks, public for a user's own networks, and what is done to all blocks of a network."""

from dyn2trt.blocks.base import GatedBlock, Stage, gated_blocks, set_execution
from dyn2trt.blocks.basic import BasicBlock
from dyn2trt.blocks.bottleneck import Bottleneck
from dyn2trt.blocks.halting import HaltingStage, halting_stages
from dyn2trt.blocks.inverted_residual import InvertedResidual

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "GatedBlock",
    "HaltingStage",
    "InvertedResidual",
    "Stage",
    "gated_blocks",
    "halting_stages",
    "set_execution",
]
