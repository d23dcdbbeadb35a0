"""Decisions that are no decisions: every gate says the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dyn2trt.notices import warn_once


def warn_of_like_decisions(masks: Sequence[NDArray[np.bool_]]) -> None:
    """Warn where every gate is closed, or every gate is open, at every position of every image.

    That is what a normalisation of other units, images of another kind or weights that are not the network's do, and
    then a comparison shows nothing of the gates, and a benchmark nothing of the network at work.

    Args:
        masks: bool [N, 1, Ho, Wo] a gated block.
    """
    shares = {float(mask.mean()) for mask in masks if mask.size}
    if len(shares) != 1 or not shares <= {0.0, 1.0}:
        return
    closed = shares == {0.0}
    warn_once(
        f"every gate is {'closed' if closed else 'open'} at every position of "
        f"{f'all {len(masks[0])} images' if len(masks[0]) > 1 else 'the image'}, so {'no' if closed else 'all'} gated "
        "work is done; if the network was trained for anything else, check mean and std (units of rgb / 255), the "
        "images and the checkpoint"
    )
