"""The pictures of a report: each input beside its computation heat map, and every block's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dyn2trt.bench.activity import executed_macs
from dyn2trt.export.metadata import Block
from dyn2trt.heat import heat_map, overlay
from dyn2trt.report.encode import as_jpeg, enlarged, mask_png
from dyn2trt.report.run_folder import Activity

Weight = Literal["blocks", "macs"]


@dataclass(frozen=True)
class MaskPicture:
    block: str
    png: bytes
    active: float
    """Share of active sites."""


@dataclass(frozen=True)
class Picture:
    """One input."""

    number: int
    """From 1."""
    photograph: bytes
    """JPEG."""
    heat: bytes
    """JPEG."""
    most: float
    """Highest value of the heat map, as a share of what it is where every block is active."""
    mean: float
    """Its average, likewise."""
    work: float | None
    """Share of the gated multiply-accumulates that the gates ask for, halo included."""
    masks: tuple[MaskPicture, ...]


@dataclass(frozen=True)
class Gallery:
    pictures: tuple[Picture, ...]
    left_out: int
    """Images beyond the limit."""
    low: str
    high: str
    """What the two ends of the colour bar mean."""
    caption: str


def gallery(activity: Activity, blocks: Sequence[Block], weight: Weight = "blocks", limit: int = 12) -> Gallery:
    """Draw the first ``limit`` images.

    Args:
        blocks: of the model, in execution order; empty when its metadata are not there, and then ``weight`` is
            "blocks" in any case.
        weight: whether the heat counts the blocks that were active at a position, or their multiply-accumulates.
    """
    size = (int(activity.images.shape[1]), int(activity.images.shape[2]))
    count = len(activity.masks)
    known = len(blocks) == count
    weights = None
    caption = f"How many of the {count} gated blocks are active at each position, as their gates decide."
    if weight == "macs" and known:
        # Per pixel of the image: a site of a coarse grid covers many.
        weights = [block.macs_per_active_site * np.prod(block.grid) / np.prod(size) for block in blocks]
        caption = f"Multiply-accumulates of the {count} gated blocks' active sites at each position."
    names = [block.name for block in blocks] if known else [f"gate {i}" for i in range(count)]
    work = _work(activity, blocks) if known else None
    shown = range(min(limit, len(activity.images)))
    photographs = [enlarged(activity.images[i]) for i in shown]
    heats = [heat_map(activity.masks, i, photographs[i].shape[:2], weights) for i in shown]
    # One scale for all pictures, up to what occurs: few networks use all blocks anywhere.
    top = max((float(heat.values.max()) for heat in heats), default=0.0)
    pictures = tuple(
        Picture(
            number=i + 1,
            photograph=as_jpeg(photographs[i]),
            heat=as_jpeg(overlay(photographs[i], heats[i], top)),
            most=float(heats[i].values.max() / (heats[i].full or 1.0)),
            mean=float(heats[i].values.mean() / (heats[i].full or 1.0)),
            work=None if work is None else float(work[i]),
            masks=tuple(
                MaskPicture(name, mask_png(mask[i, 0]), float(mask[i].mean()))
                for name, mask in zip(names, activity.masks, strict=True)
            ),
        )
        for i in shown
    )
    full = heats[0].full if heats else 1.0
    high = f"{top:.0f} of {count} blocks" if weights is None else f"{top / (full or 1.0):.0%} of the work"
    return Gallery(pictures, len(activity.images) - len(pictures), "0", high, caption)


def _work(activity: Activity, blocks: Sequence[Block]) -> np.ndarray:
    """Share [K] of the gated multiply-accumulates that each image asks for."""
    done = sum(executed_macs(block, mask) for block, mask in zip(blocks, activity.masks, strict=True))
    return np.asarray(done / sum(block.macs_total for block in blocks))
