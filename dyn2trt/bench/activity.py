"""How much of a gated network is active on given images: shares of sites and of multiply-accumulates."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.record import Activity, BlockActivity
from dyn2trt.export.metadata import COEFFICIENTS_PREFIX, MASK_PREFIX, Block
from dyn2trt.files import replacing

Mask = npt.NDArray[np.bool_]


def summarise_activity(blocks: Sequence[Block], masks: Sequence[Mask]) -> Activity:
    """Summarise the masks bool [N, 1, Ho, Wo] of all ``blocks``, in execution order, over the same N images."""
    if len(blocks) != len(masks) or not blocks:
        raise ValueError(f"{len(masks)} masks for {len(blocks)} gated blocks")
    rows = tuple(
        BlockActivity(
            name=block.name,
            op=block.op,
            grid=(int(mask.shape[2]), int(mask.shape[3])),
            macs_total=block.macs_total,
            site_fraction=float(mask.mean()),
            mac_fraction=float(executed_macs(block, mask).mean()) / block.macs_total,
        )
        for block, mask in zip(blocks, masks, strict=True)
    )
    total = sum(row.macs_total for row in rows)
    return Activity(
        images=int(masks[0].shape[0]),
        ratio=sum(row.site_fraction * row.macs_total for row in rows) / total,
        mac_fraction=sum(row.mac_fraction * row.macs_total for row in rows) / total,
        blocks=rows,
    )


def write_activity(
    path: str | os.PathLike[str],
    pictures: npt.NDArray[np.uint8],
    masks: Sequence[Mask],
    coefficients: Sequence[npt.NDArray[np.float32]] = (),
) -> None:
    """Write what a report's pictures are made of.

    A .npz with ``images`` uint8 [K, H, W, 3]; ``mask0``, ... bool [K, 1, Ho, Wo] of the gated blocks; and
    ``coefficients0``, ... float32 [K, size] of the predictors of dynamic kernels.
    """
    with replacing(path) as temporary:
        named: dict[str, Any] = {f"{MASK_PREFIX}{i}": mask for i, mask in enumerate(masks)}
        named |= {f"{COEFFICIENTS_PREFIX}{i}": values for i, values in enumerate(coefficients)}
        with temporary.open("wb") as file:  # To a path NumPy would add .npz.
            np.savez_compressed(file, images=pictures, **named)


def executed_macs(block: Block, mask: Mask) -> npt.NDArray[np.float64]:
    """Multiply-accumulates [N] that the block executes for each image of ``mask`` bool [N, 1, Ho, Wo].

    Those of the active sites, and those of the first convolution at all sites of their 3×3 halo. At a size other
    than the exported one (dynamic size) they are scaled by the grid's area.
    """
    active = mask.sum(axis=(1, 2, 3), dtype=np.float64)
    if not block.macs_per_halo_site:
        return active * block.macs_per_active_site
    grid = block.grid[0] * block.grid[1]
    # Sites of the grid on which the halo lies: the input's under a stride of 2, else the output's.
    area = (block.macs_total - block.macs_per_active_site * grid) / block.macs_per_halo_site
    stride = max(1, round(math.sqrt(area / grid)))
    halo = halo_sites(mask[:, 0], stride)
    return active * block.macs_per_active_site + halo * block.macs_per_halo_site


def halo_sites(mask: Mask, stride: int) -> npt.NDArray[np.float64]:
    """Count the input sites [N] that a 3×3 convolution (padding 1) reads at the active sites of ``mask`` [N, Ho, Wo].

    The input grid is taken as stride·Ho × stride·Wo.
    """
    n, height, width = mask.shape
    if stride > 1:
        spread = np.zeros((n, height * stride, width * stride), dtype=np.bool_)
        spread[:, ::stride, ::stride] = mask
        mask = spread
    padded: npt.NDArray[Any] = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    dilated = rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]
    return np.asarray(dilated.sum(axis=(1, 2), dtype=np.float64))
