"""Synthetic gate decisions at an exact active ratio: blobs, as a trained gate makes them, and independent sites.

Blobs are the case that a kernel meets in practice: halos of neighbouring sites overlap, and images have a subject.
Independent sites are the worst case: at a ratio of 25 % the halo of a 3×3 convolution is already 92 % of the grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

BLOB_SIZE = 8.0
"""Feature size of blobs: a grid's longer side over this is the standard deviation of the smoothing, in sites."""


def blobs(shape: tuple[int, int, int], ratio: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Masks bool [N, 1, Ho, Wo]: white noise smoothed by a Gaussian, thresholded at its quantile image by image.

    Args:
        shape: (N, Ho, Wo).
        ratio: share of active sites in [0, 1]; exactly round(ratio·Ho·Wo) sites of every image are active.
    """
    n, height, width = shape
    sigma = max(height, width) / BLOB_SIZE
    field = rng.standard_normal((n, height, width))
    for axis, length in ((1, height), (2, width)):
        field = np.einsum("...i,ij->...j", np.moveaxis(field, axis, -1), _gaussian(length, sigma))
        field = np.moveaxis(field, -1, axis)
    return _highest(field, ratio)


def independent(shape: tuple[int, int, int], ratio: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Masks bool [N, 1, Ho, Wo] whose active sites are drawn without any spatial structure; arguments as `blobs`."""
    return _highest(rng.random(shape), ratio)


PATTERNS: dict[str, Callable[[tuple[int, int, int], float, np.random.Generator], npt.NDArray[np.bool_]]] = {
    "blobs": blobs,
    "independent": independent,
}


def to_logits(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Gate logits float32 of the same shape: +1 where active, −1 where idle."""
    return np.where(mask, np.float32(1), np.float32(-1))


def _gaussian(length: int, sigma: float) -> npt.NDArray[np.float64]:
    """Smoothing matrix [length, length]; every column is normalised, so borders keep the field's level."""
    position = np.arange(length)
    weight = np.exp(-0.5 * ((position[:, None] - position[None, :]) / sigma) ** 2)
    return np.asarray(weight / np.sqrt((weight**2).sum(axis=0, keepdims=True)))


def _highest(field: npt.NDArray[np.float64], ratio: float) -> npt.NDArray[np.bool_]:
    """The round(ratio·Ho·Wo) highest sites of each image of ``field`` [N, Ho, Wo]."""
    if not 0 <= ratio <= 1:
        raise ValueError(f"an active ratio lies between 0 and 1, not {ratio}")
    n, height, width = field.shape
    keep = round(ratio * height * width)
    mask = np.zeros((n, height * width), dtype=np.bool_)
    order = np.argsort(-field.reshape(n, -1), axis=1, kind="stable")[:, :keep]
    np.put_along_axis(mask, order, True, axis=1)
    return mask.reshape(n, 1, height, width)
