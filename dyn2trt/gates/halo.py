"""Halo geometry: the input sites that a convolution reads when it is evaluated at the active output sites."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def halo(mask: Tensor, size: tuple[int, int], *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
    """Return the sites of a ``size`` grid that feed the active sites of ``mask`` through a square convolution.

    A convolution's transpose carries each output site to the input sites that it reads, so the halo is where the
    transposed convolution of the mask with ones is not zero. Odd sizes need no care beyond the input's real size:
    stride 2 maps both H = 2·Ho and H = 2·Ho − 1 to Ho.

    Args:
        mask: [N, 1, Ho, Wo], a site is active where it is not zero.
        size: (H, W) of the convolution's input.

    Returns:
        bool [N, 1, H, W].

    Raises:
        ValueError: no input of that size gives the mask's grid.
    """
    grid = (mask.shape[2], mask.shape[3])
    expected = tuple((n + 2 * padding - kernel) // stride + 1 for n in size)
    if grid != expected:
        raise ValueError(f"an input of {size} gives a grid of {expected} at stride {stride}, but the mask has {grid}")
    rest = [n - ((g - 1) * stride + kernel - 2 * padding) for n, g in zip(size, grid, strict=True)]
    ones = torch.ones(1, 1, kernel, kernel, device=mask.device)
    reads = F.conv_transpose2d((mask != 0).float(), ones, stride=stride, padding=padding, output_padding=rest)
    return reads > 0.5
