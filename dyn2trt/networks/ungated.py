"""Blocks of a gated network that are to have no gate."""

from __future__ import annotations

from torch import nn

from dyn2trt.blocks import all_blocks
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.options import nearest

NO_BLOCK = "none"
"""In place of module paths: every block keeps its gate."""


def ungate(network: nn.Module, paths: str) -> None:
    """Remove the mask units of some blocks, which are ordinary dense blocks from then on.

    The authors of ConvNet-AIG do this with the first, the last and the downsampling layers (README of their code,
    "Target Rate schedules"): layers that always execute keep training from skipping everything for some images.

    Args:
        paths: module paths of the blocks, separated by spaces, such as ``layer2.0 layer3.0``; or ``none``.

    Raises:
        Dyn2trtError: a path that is not a block of the network.
    """
    blocks = dict(all_blocks(network))
    for path in [] if paths == NO_BLOCK else paths.split():
        if path not in blocks:
            raise Dyn2trtError(
                f"ungated names {path!r}, which is no block{nearest(path, blocks)}; the blocks are {', '.join(blocks)}"
            )
        blocks[path].masker = None
