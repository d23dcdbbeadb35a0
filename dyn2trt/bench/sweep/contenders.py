"""The contenders of one interleaved run: the network as it is, its counterparts, and the sweep's points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.sweep.gate_masks import Masks
from dyn2trt.bench.sweep.masks import to_logits
from dyn2trt.bench.timing.interleave import Contender
from dyn2trt.export.metadata import INPUT
from dyn2trt.export.surgery.overruled import PREFIX
from dyn2trt.runtimes.session import Session


def batches_of(images: npt.NDArray[np.float32], batch: int) -> list[npt.NDArray[np.float32]]:
    """Cut images [K, 3, H, W] into batches [batch, 3, H, W], the first images filling up the last batch."""
    count = max(1, -(-len(images) // batch))
    return [images[np.arange(i * batch, (i + 1) * batch) % len(images)] for i in range(count)]


def natural(session: Session, batches: Sequence[npt.NDArray[np.float32]]) -> Contender:
    """The network as it is, on batch i in round i: rounds of two such contenders see the same images."""
    return lambda i: session.time({INPUT: batches[i % len(batches)]})


def forced(session: Session, batches: Sequence[npt.NDArray[np.float32]], masks: Sequence[Masks]) -> Contender:
    """The network with forced masks, its mask sets taking turns."""

    def run(i: int) -> float:
        chosen = masks[i % len(masks)]
        logits = {f"{PREFIX}{index}": to_logits(mask) for index, mask in enumerate(chosen)}
        return session.time({INPUT: batches[i % len(batches)], **logits})

    return run


def point_name(pattern: str, ratio: float) -> str:
    return f"{pattern}@{ratio:g}"
