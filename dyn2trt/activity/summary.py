"""How much of a gated network is active on given images: shares of sites and of multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dyn2trt.activity.halo import Mask
from dyn2trt.activity.work import GatedWork, executed_macs, total_macs


class Block(GatedWork, Protocol):
    """A gated block of an exported file, `dyn2trt.export.metadata.Block`."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...


@dataclass(frozen=True)
class BlockActivity:
    """One gated block on the user's images."""

    name: str
    op: str
    grid: tuple[int, int]
    macs_total: int
    """Multiply-accumulates of an image with every site of the grid active."""
    site_fraction: float
    """Share of active output sites, averaged over the images."""
    mac_fraction: float
    """Multiply-accumulates that the gate asks for, halo included, over those of the ungated block."""


@dataclass(frozen=True)
class Activity:
    """The model's own activity on the user's images."""

    images: int
    ratio: float
    """Share of active sites, blocks weighted by their multiply-accumulates: the model's place on the sweep's axis."""
    mac_fraction: float
    """Multiply-accumulates that the gates ask for, halo included, over those when every site is active. A runtime may
    do more: a body that finds dense cheaper computes every site."""
    blocks: tuple[BlockActivity, ...]


def summarise_activity(blocks: Sequence[Block], masks: Sequence[Mask]) -> Activity:
    """Summarise the masks bool [N, 1, Ho, Wo] of all ``blocks``, in execution order, over the same N images."""
    if len(blocks) != len(masks) or not blocks:
        raise ValueError(f"{len(masks)} masks for {len(blocks)} gated blocks")
    rows = tuple(_of_block(block, mask) for block, mask in zip(blocks, masks, strict=True))
    total = sum(row.macs_total for row in rows)
    return Activity(
        images=len(masks[0]),
        ratio=sum(row.site_fraction * row.macs_total for row in rows) / total,
        mac_fraction=sum(row.mac_fraction * row.macs_total for row in rows) / total,
        blocks=rows,
    )


def _of_block(block: Block, mask: Mask) -> BlockActivity:
    total = total_macs(block, mask.shape[2:])
    return BlockActivity(
        name=block.name,
        op=block.op,
        grid=(mask.shape[2], mask.shape[3]),
        macs_total=total,
        site_fraction=float(mask.mean()),
        mac_fraction=float(executed_macs(block, mask).mean()) / total,
    )


def executed_share(blocks: Sequence[Block], masks: Sequence[Mask]) -> list[float]:
    """Share of the gated multiply-accumulates that the gates ask for on each image."""
    executed = np.sum([executed_macs(block, mask) for block, mask in zip(blocks, masks, strict=True)], axis=0)
    total = sum(total_macs(block, mask.shape[2:]) for block, mask in zip(blocks, masks, strict=True))
    return [float(macs) / total for macs in executed]
