"""The stages that residual networks are made of."""

from __future__ import annotations

from torch import nn

from dyn2trt.blocks import BasicBlock, Bottleneck, HaltingStage

HALTING = "halting"
"""In place of a mask unit: the stage's positions halt."""


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck], inplanes: int, planes: int, blocks: int, stride: int, mask_unit: str
) -> nn.Sequential:
    """Make ``blocks`` residual blocks, the first of which has the stride and the change of channels.

    Args:
        block: their class.
        inplanes: input channels.
        planes: channels inside; the output has ``planes * block.expansion``.
        mask_unit: of every block, `dyn2trt.gates.kinds`; or ``halting`` for a `HaltingStage`.
    """
    halts = mask_unit == HALTING
    gate = None if halts else mask_unit
    units = []
    for index in range(blocks):
        units.append(block(inplanes, planes, stride if index == 0 else 1, mask_unit=gate))
        inplanes = planes * block.expansion
    return HaltingStage(units) if halts else nn.Sequential(*units)
