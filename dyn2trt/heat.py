"""Where a gated network computed: how many of its blocks were active at each position of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

COLOUR_MAP = "inferno"
BLEND = 0.7
"""Weight of the colours over the greyscale photograph."""


@dataclass(frozen=True)
class HeatMap:
    """``values`` float64 [H, W] for one image; where every block is active it is ``full``."""

    values: npt.NDArray[np.float64]
    full: float


def heat_map(
    masks: Sequence[npt.NDArray[np.bool_]], image: int, size: tuple[int, int], weights: Sequence[float] | None = None
) -> HeatMap:
    """Sum the masks of one image, each enlarged to ``size`` (H, W) without interpolation.

    Args:
        masks: bool [K, 1, Ho, Wo] per block.
        weights: of each block; None counts blocks. For work in place of blocks, give the multiply-accumulates that
            a block spends on a pixel of the image when it is active there.
    """
    weights = [1.0] * len(masks) if weights is None else weights
    values = np.zeros(size)
    for mask, weight in zip(masks, weights, strict=True):
        values += weight * enlarge(mask[image, 0], size)
    return HeatMap(values, float(sum(weights)))


def enlarge(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Nearest site for each pixel: bool [Ho, Wo] → bool [H, W]."""
    rows, columns = (np.arange(n) * grid // n for n, grid in zip(size, mask.shape, strict=True))
    return np.asarray(mask[rows[:, None], columns[None, :]])


def overlay(photograph: npt.NDArray[np.uint8], heat: HeatMap, top: float) -> npt.NDArray[np.uint8]:
    """Blend the heat map's colours over the photograph uint8 [H, W, 3], turned to grey; ``top`` is the brightest."""
    share = np.clip(heat.values / (top or 1.0), 0, 1)
    colours = matplotlib.colormaps[COLOUR_MAP](share)[..., :3] * 255
    grey = np.asarray(Image.fromarray(photograph).convert("L"), dtype=np.float64)[..., None]
    return np.round(BLEND * colours + (1 - BLEND) * grey).astype(np.uint8)


def colour_bar(stops: int = 9) -> str:
    """The colour map as the colours of a CSS gradient, low to high."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, stops))
    return ", ".join(matplotlib.colors.to_hex(colour) for colour in colours)
