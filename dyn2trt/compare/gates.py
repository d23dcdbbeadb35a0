"""Gate decisions of two runs, block by block.

A site is active when its logit is at or above the threshold, so a decision flips where rounding carries a logit
across it: the reference's |logit| there, the *margin*, says how near it was. A flip at a small margin is rounding; one
at a large margin is a fault. Blocks after a flip see other data, so their flips may follow from the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dyn2trt.compare.metrics import relative_error
from dyn2trt.compare.result import GateStatistics
from dyn2trt.compare.runs import Iterations, joined
from dyn2trt.export.metadata import Block
from dyn2trt.runtimes.names import LOGITS, MASK


def compare_gates(
    block: str,
    reference_logits: NDArray[np.float32],
    *,
    logits: NDArray[np.float32] | None = None,
    mask: NDArray[np.bool_] | None = None,
    threshold: float = 0.0,
    layer: bool = False,
) -> GateStatistics:
    """Compare one block's decisions; give the candidate's logits, or its mask where the logits are not to be had.

    Args:
        reference_logits: [N, 1, Ho, Wo].
        logits, mask: the same shape.
        layer: the gate decides once per image. A candidate that has several values there is compared at every position.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    given: NDArray[Any] | None = logits if logits is not None else mask
    if given is None or given.shape != reference_logits.shape or not given.size:
        came = "nothing" if given is None else str(list(given.shape))
        raise ValueError(f"block {block}: expected decisions {list(reference_logits.shape)}, came {came}")
    if layer and all((values == values[..., :1, :1]).all() for values in (given, reference_logits)):
        given, reference_logits = given[..., :1, :1], reference_logits[..., :1, :1]
    decided = given >= threshold if logits is not None else given.astype(bool)
    expected = reference_logits >= threshold
    flipped = decided != expected
    margin = np.abs(reference_logits.astype(np.float64) - threshold)
    return GateStatistics(
        block=block,
        sites=expected.size,
        active_reference=int(expected.sum()),
        active=int(decided.sum()),
        flipped=int(flipped.sum()),
        smallest_margin=float(margin.min()),
        largest_flipped_margin=float(margin[flipped].max()) if flipped.any() else None,
        logit_error=None if logits is None else relative_error(given, reference_logits),
        logit_scale=float(np.sqrt(np.mean(np.square(reference_logits, dtype=np.float64)))),
        agreement=1.0 - float(flipped.mean()),
    )


def compare_all_gates(
    blocks: Sequence[Block], candidate: Iterations, reference: Iterations, images: int | None = None
) -> list[GateStatistics]:
    """Compare the gates of all blocks; empty where the candidate gives neither logits nor masks.

    Args:
        images: compare the first so many alone; None compares all.
    """
    statistics = []
    for index, block in enumerate(blocks):
        expected = joined(reference, f"{LOGITS}{index}", images)
        logits, mask = (joined(candidate, f"{prefix}{index}", images) for prefix in (LOGITS, MASK))
        if expected is None or (logits is None and mask is None):
            return []
        layer = block.gate == "layer"
        statistics.append(compare_gates(block.name, expected, logits=logits, mask=mask, layer=layer))
    return statistics
