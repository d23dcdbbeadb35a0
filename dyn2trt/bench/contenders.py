"""The contenders of one interleaved run: the dense network, the sparse one on its own, and the sweep's points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.interleave import Contender
from dyn2trt.bench.masks import PATTERNS, to_logits
from dyn2trt.export.metadata import INPUT
from dyn2trt.export.surgery.overruled import PREFIX

Feed = Mapping[str, npt.NDArray[Any]]
Masks = list[npt.NDArray[np.bool_]]
"""One mask [N, 1, Ho, Wo] a gated block, in execution order."""


class Timed(Protocol):
    """A session of either backend."""

    def time(self, feed: Feed) -> float: ...


def batches_of(images: npt.NDArray[np.float32], batch: int) -> list[npt.NDArray[np.float32]]:
    """Cut images [K, 3, H, W] into batches [batch, 3, H, W], the first images filling up the last batch."""
    count = max(1, -(-len(images) // batch))
    return [images[np.arange(i * batch, (i + 1) * batch) % len(images)] for i in range(count)]


def natural(session: Timed, batches: Sequence[npt.NDArray[np.float32]]) -> Contender:
    """The network as it is, on batch i in round i: rounds of two such contenders see the same images."""
    return lambda i: session.time({INPUT: batches[i % len(batches)]})


def forced(session: Timed, batches: Sequence[npt.NDArray[np.float32]], masks: Sequence[Masks]) -> Contender:
    """The network with overruled gates, its mask sets taking turns."""

    def run(i: int) -> float:
        chosen = masks[i % len(masks)]
        logits = {f"{PREFIX}{index}": to_logits(mask) for index, mask in enumerate(chosen)}
        return session.time({INPUT: batches[i % len(batches)], **logits})

    return run


def mask_sets(
    pattern: str, ratio: float, grids: Sequence[tuple[int, int]], batch: int, count: int, seed: int
) -> list[Masks]:
    """``count`` sets of masks, one mask a grid each; the same arguments give the same masks."""
    draw: Callable[..., npt.NDArray[np.bool_]] = PATTERNS[pattern]
    rng = np.random.default_rng([seed, list(PATTERNS).index(pattern), round(ratio * 1e6), batch])
    # Where every site or none is active, all sets are the same.
    return [[draw((batch, *grid), ratio, rng) for grid in grids] for _ in range(count if 0 < ratio < 1 else 1)]


def point_name(pattern: str, ratio: float) -> str:
    return f"{pattern}@{ratio:g}"
