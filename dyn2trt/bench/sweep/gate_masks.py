"""Masks for all gates of a network at one active ratio, such as these gates can decide.

Gates of positions get a mask each. A gate of a layer covers a whole image or none of it. The masks of halting units
shrink within a stage: a position that is done stays idle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.sweep.masks import PATTERNS
from dyn2trt.export.metadata import Block

Masks = list[npt.NDArray[np.bool_]]
"""One mask [N, 1, Ho, Wo] per gated block, in execution order."""

LAYERS = "layers"
"""The pattern where every gate decides on whole layers, and positions have no say."""


def patterns_of(blocks: Sequence[Block], wanted: Sequence[str]) -> tuple[str, ...]:
    """The mask patterns that were asked for, or `LAYERS` alone where no gate sees positions."""
    return (LAYERS,) if all(block.gate == "layer" for block in blocks) else tuple(wanted)


def mask_sets(
    pattern: str,
    ratio: float,
    blocks: Sequence[Block],
    grids: Sequence[tuple[int, int]],
    batch: int,
    count: int,
    seed: int,
) -> list[Masks]:
    """``count`` sets of masks, one mask per block; the same arguments give the same masks.

    Args:
        pattern: of `patterns_of`.
        ratio: share of active sites, in [0, 1]: of every mask of positions; of each stage of halting units, taken
            together; of layers, over all images and sets.
        grids: (Ho, Wo) of each block.
    """
    rng = np.random.default_rng([seed, [*PATTERNS, LAYERS].index(pattern), round(ratio * 1e6), batch])
    # Where every site or none is active, all sets are the same.
    return [_draw(pattern, ratio, blocks, grids, batch, index, rng) for index in range(count if 0 < ratio < 1 else 1)]


def _draw(
    pattern: str,
    ratio: float,
    blocks: Sequence[Block],
    grids: Sequence[tuple[int, int]],
    batch: int,
    index: int,
    rng: np.random.Generator,
) -> Masks:
    layers = _layers(ratio, sum(block.gate == "layer" for block in blocks), batch, index, rng)
    halting = _halting_ratios(ratio, blocks)
    fields: dict[str, int] = {}
    masks = []
    for place, (block, grid) in enumerate(zip(blocks, grids, strict=True)):
        shape = (batch, *grid)
        if block.gate == "layer":
            mask = np.broadcast_to(next(layers)[:, None, None, None], (batch, 1, *grid)).copy()
        elif block.gate == "halting":
            # The same draw at a smaller ratio is a subset.
            field = fields.setdefault(_stage(block), int(rng.integers(2**63)))
            mask = PATTERNS[pattern](shape, halting[place], np.random.default_rng(field))
        else:
            mask = PATTERNS[pattern](shape, ratio, rng)
        masks.append(mask)
    return masks


def _layers(
    ratio: float, count: int, batch: int, index: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.bool_]]:
    """For each layer, the images [N] that run it. What one set cannot hold of a ratio, the sets hold in turn."""
    total = count * batch
    active = round((index + 1) * ratio * total) - round(index * ratio * total)
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[rng.permutation(total)[:active]] = True
    return iter(chosen.reshape(count, batch))


def _halting_ratios(ratio: float, blocks: Sequence[Block]) -> dict[int, float]:
    """Ratios of halting units by their place, falling evenly within each stage, with ``ratio`` as their mean."""
    top, bottom = min(1.0, 2 * ratio), max(0.0, 2 * ratio - 1)
    stages: dict[str, list[int]] = {}
    for place, block in enumerate(blocks):
        if block.gate == "halting":
            stages.setdefault(_stage(block), []).append(place)
    return {
        place: top - (top - bottom) * (depth + 0.5) / len(places)
        for places in stages.values()
        for depth, place in enumerate(places)
    }


def _stage(block: Block) -> str:
    return block.name.rpartition(".")[0]
