"""The pictures of a report: each input with where it was computed, and every block's mask.

Gates of positions make a heat map; gates of whole layers a strip, one cell per layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dyn2trt.activity.archive import Decisions
from dyn2trt.activity.summary import executed_share
from dyn2trt.export.metadata import Block
from dyn2trt.heat import heat_map, overlay
from dyn2trt.report.encode import as_jpeg, enlarged, mask_png

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
    heat: bytes | None
    """JPEG; None where no gate decides on positions."""
    most: float
    """Highest value of the heat map, as a share of what it is where every block is active."""
    mean: float
    """Its average, likewise."""
    layers: tuple[bool, ...]
    """Which layers ran, of those whose gate decides on the whole layer."""
    work: float | None
    """Share of the gated multiply-accumulates that the gates ask for, halo included."""
    masks: tuple[MaskPicture, ...]


@dataclass(frozen=True)
class Gallery:
    title: str
    pictures: tuple[Picture, ...]
    left_out: int
    """Images beyond the limit."""
    low: str
    high: str
    """What the two ends of the colour bar mean; empty without heat maps."""
    caption: str


def gallery(decided: Decisions, blocks: Sequence[Block], weight: Weight = "blocks", limit: int = 12) -> Gallery:
    """Draw the first ``limit`` images.

    Args:
        blocks: of the model, in execution order; empty when its metadata are not there, and then ``weight`` is
            "blocks" in any case, and every gate is taken to decide on positions.
        weight: whether the heat counts the blocks that were active at a position, or their multiply-accumulates.
    """
    count = len(decided.masks)
    known = len(blocks) == count
    whole = [known and blocks[i].gate == "layer" for i in range(count)]
    size = (int(decided.images.shape[1]), int(decided.images.shape[2]))
    weights = None
    if weight == "macs" and known:
        # Per pixel of the image: a site of a coarse grid covers many.
        weights = [float(block.macs_per_active_site * np.prod(block.grid) / np.prod(size)) for block in blocks]
    names = [block.name for block in blocks] if known else [f"gate {i}" for i in range(count)]
    work = executed_share(blocks, decided.masks) if known and blocks else None
    shown = range(min(limit, len(decided.images)))
    photographs = [enlarged(decided.images[i]) for i in shown]
    spread = [i for i in range(count) if not whole[i]]
    masks = [decided.masks[i] for i in spread]
    chosen = None if weights is None else [weights[i] for i in spread]
    heats = [heat_map(masks, i, photographs[i].shape[:2], chosen) for i in shown] if spread else []
    # One scale for all pictures, up to what occurs: few networks use all blocks anywhere.
    top = max((float(heat.values.max()) for heat in heats), default=0.0)
    pictures = tuple(
        Picture(
            number=i + 1,
            photograph=as_jpeg(photographs[i]),
            heat=as_jpeg(overlay(photographs[i], heats[i], top)) if heats else None,
            most=float(heats[i].values.max() / (heats[i].full or 1.0)) if heats else 0.0,
            mean=float(heats[i].values.mean() / (heats[i].full or 1.0)) if heats else 0.0,
            layers=tuple(bool(decided.masks[j][i].any()) for j in range(count) if whole[j]),
            work=None if work is None else work[i],
            masks=tuple(_mask(names[j], decided.masks[j][i, 0]) for j in spread),
        )
        for i in shown
    )
    full = heats[0].full if heats else 1.0
    things = "units" if known and any(block.gate == "halting" for block in blocks) else "blocks"
    high = f"{top:.0f} of {len(spread)} {things}" if weights is None else f"{top / (full or 1.0):.0%} of the work"
    return Gallery(
        title="Where it computes" if spread else "Which layers run",
        pictures=pictures,
        left_out=len(decided.images) - len(pictures),
        low="0" if spread else "",
        high=high if spread else "",
        caption=" ".join(_captions(blocks if known else (), len(spread), sum(whole), weighed=weights is not None)),
    )


def _mask(block: str, mask: npt.NDArray[np.bool_]) -> MaskPicture:
    return MaskPicture(block, mask_png(mask), float(mask.mean()))


def _captions(blocks: Sequence[Block], positions: int, layers: int, *, weighed: bool) -> Iterator[str]:
    """What the heat maps and strips show, a sentence each."""
    halting = sum(block.gate == "halting" for block in blocks)
    if positions and weighed:
        yield f"Multiply-accumulates of the {positions} gated blocks' active sites at each position."
    elif positions and halting == positions:
        yield f"How many of the {positions} units ran at each position before it halted (the ponder map)."
    elif positions:
        yield f"How many of the {positions} gated blocks are active at each position, as their gates decide."
    if layers:
        yield f"A cell for each of the {layers} gated layers, filled where it runs; the others are skipped."
