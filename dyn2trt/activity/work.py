"""Multiply-accumulates that a gated block executes under a mask, and those that it has in all."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from dyn2trt.activity.halo import Mask, halo

Grid = tuple[int, int]


class GatedWork(Protocol):
    """What a gated block's work follows from, as `dyn2trt.export.metadata.Block` and `dyn2trt.macs.BlockMacs` say it.

    ``macs_per_active_site`` are done at every active site of the ``grid`` (Ho, Wo), ``macs_per_halo_site`` at every
    site of the ``halo_grid`` (H, W; None: the same grid) that the active sites read, ``halo_stride`` apart.
    """

    @property
    def grid(self) -> Grid: ...
    @property
    def halo_grid(self) -> Grid | None: ...
    @property
    def halo_stride(self) -> int | None: ...
    @property
    def macs_per_active_site(self) -> int: ...
    @property
    def macs_per_halo_site(self) -> int: ...


def executed_macs(block: GatedWork, mask: Mask) -> npt.NDArray[np.float64]:
    """Multiply-accumulates [N] that the gate asks for on each image of ``mask``, halo included."""
    stride, size = halo_geometry(block, mask.shape[2:])
    macs = _sites(mask) * block.macs_per_active_site
    if block.macs_per_halo_site:
        macs += _sites(halo(mask, size, stride=stride)) * block.macs_per_halo_site
    return macs


def total_macs(block: GatedWork, grid: tuple[int, ...]) -> int:
    """Multiply-accumulates of one image with every site of ``grid`` (Ho, Wo) active."""
    _, (height, width) = halo_geometry(block, grid)
    return grid[0] * grid[1] * block.macs_per_active_site + height * width * block.macs_per_halo_site


def halo_geometry(block: GatedWork, grid: tuple[int, ...]) -> tuple[int, Grid]:
    """The stride from the active sites to their halo, and the halo's grid (H, W), where the mask has ``grid`` (Ho, Wo).

    At another size than the one that was exported, the halo's grid is taken as ``stride`` times the mask's: the exact
    one may be a line shorter.
    """
    exported = block.halo_grid or block.grid
    # Files from before the stride was written have strides of 1 and 2 alone, which the grids tell.
    stride = block.halo_stride or max(-(-length // sites) for length, sites in zip(exported, block.grid, strict=True))
    height, width = grid
    return stride, exported if (height, width) == tuple(block.grid) else (stride * height, stride * width)


def _sites(mask: Mask) -> npt.NDArray[np.float64]:
    return np.asarray(mask.sum(axis=(1, 2, 3), dtype=np.float64))
