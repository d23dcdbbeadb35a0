"""The network that training starts from: random weights, a gated checkpoint, or a dense one whose gates begin open."""

from __future__ import annotations

import os

import torch
from torch import nn

from dyn2trt.blocks import all_blocks, gated_blocks
from dyn2trt.checkpoint import load_checkpoint, read_state_dict
from dyn2trt.gates import MaskUnit
from dyn2trt.networks.options import Value
from dyn2trt.networks.zoo import build_network

OPEN_LOGIT = 2.0
"""Given to `MaskUnit.open`: active in evaluation, and with probability sigmoid(2) = 0.88 under the noise."""


def seeded_network(name: str, options: dict[str, Value], seed: int) -> nn.Module:
    """Build a network with random weights from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(name, options)


def load_start(network: nn.Module, path: str | os.PathLike[str]) -> bool:
    """Load a checkpoint to fine-tune from, gated or dense.

    Of a dense checkpoint, one without any mask unit's weights, every other weight is loaded as strictly as ever, and
    the gates are set open (`open_gates`). Mask units of blocks that have no gate in ``network`` are left out.

    Returns:
        Whether the checkpoint was dense.

    Raises:
        Dyn2trtError: as `dyn2trt.checkpoint.load_checkpoint`.
    """
    gated = list(gated_blocks(network))
    without = [_mask_unit(name) for name, block in all_blocks(network) if block.masker is None]
    state = read_state_dict(path, network.state_dict())
    if not gated or any(key.startswith(_mask_unit(name)) for name, _ in gated for key in state):
        load_checkpoint(network, path, without=without)
        return False
    units = [(block, block.masker) for _, block in gated]
    try:
        for block, _ in units:
            block.masker = None
        load_checkpoint(network, path, without=without)
    finally:
        for block, unit in units:
            block.masker = unit
    open_gates(network)
    return True


def _mask_unit(block: str) -> str:
    """What the keys of a block's mask unit begin with."""
    return f"{block}.masker.".lstrip(".")


def open_gates(network: nn.Module) -> None:
    """Set the weights of every mask unit so that all positions are active, whatever the input (`MaskUnit.open`)."""
    for unit in network.modules():
        if isinstance(unit, MaskUnit):
            unit.open(OPEN_LOGIT)
