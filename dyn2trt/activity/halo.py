"""The halo of active sites: the input sites that a 3×3 convolution reads when it is evaluated there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""Gate decisions, [N, 1, Ho, Wo]."""


def halo(mask: Mask, size: tuple[int, int], *, stride: int = 1) -> Mask:
    """Return the sites, bool [N, 1, H, W], of a grid of ``size`` (H, W) that a 3×3 with padding 1 reads at ``mask``.

    Raises:
        ValueError: no input of that size gives the mask's grid.
    """
    grid = mask.shape[2:]
    expected = tuple((length - 1) // stride + 1 for length in size)
    if grid != expected:
        raise ValueError(f"an input of {size} gives a grid of {expected} at stride {stride}, but the mask has {grid}")
    height, width = size
    padded = np.zeros((len(mask), 1, height + 2, width + 2), dtype=np.bool_)
    for top in range(3):
        for left in range(3):
            padded[:, :, top : top + height : stride, left : left + width : stride] |= mask
    return padded[:, :, 1:-1, 1:-1]
