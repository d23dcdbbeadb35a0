"""``activity.npz``: images, and what a network decided on them; compare and bench write it, a report draws it.

``images`` uint8 [K, H, W, 3]; ``mask0``, ... bool [K, 1, Ho, Wo] of the gated blocks; ``coefficients0``, ... float32
[K, size] of the predictors of dynamic kernels.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dyn2trt.activity.halo import Mask
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing

_IMAGES, _MASK, _COEFFICIENTS = "images", "mask", "coefficients"


@dataclass(frozen=True)
class Decisions:
    """What a network decided on images uint8 [K, H, W, 3].

    Masks bool [K, 1, Ho, Wo], one per gated block, and coefficients float [K, size], one array per predictor of dynamic
    kernels; both in execution order.
    """

    images: npt.NDArray[np.uint8]
    masks: tuple[Mask, ...]
    coefficients: tuple[npt.NDArray[np.float32], ...] = ()


def write_activity(
    path: str | os.PathLike[str],
    images: npt.NDArray[np.uint8],
    masks: Sequence[Mask],
    coefficients: Sequence[npt.NDArray[np.float32]] = (),
) -> None:
    """Write the fields of `Decisions`, whole or not at all."""
    arrays: dict[str, Any] = {_IMAGES: images}
    arrays |= {f"{_MASK}{i}": mask for i, mask in enumerate(masks)}
    arrays |= {f"{_COEFFICIENTS}{i}": values for i, values in enumerate(coefficients)}
    with replacing(path) as temporary, temporary.open("wb") as file:  # To a path NumPy would add .npz.
        np.savez_compressed(file, **arrays)


def read_activity(path: str | os.PathLike[str]) -> Decisions:
    """Read what `write_activity` wrote.

    Raises:
        Dyn2trtError: absent, damaged, or its arrays are not of the same images.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays[_IMAGES]
            masks = tuple(array.astype(np.bool_) for array in _numbered(arrays, _MASK))
            coefficients = tuple(_numbered(arrays, _COEFFICIENTS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Dyn2trtError(f"cannot read {path}: {error}; write it again with dyn2trt bench") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise Dyn2trtError(f"{path} holds images {images.dtype} {list(images.shape)}, expected uint8 [K, H, W, 3]")
    for what, decisions in (("masks", masks), ("coefficients", coefficients)):
        if counts := {len(decision) for decision in decisions} - {len(images)}:
            came = ", ".join(map(str, sorted(counts)))
            raise Dyn2trtError(f"{path} holds {what} of {came} images, but {len(images)} pictures; write it again")
    return Decisions(images, masks, coefficients)


def _numbered(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> list[npt.NDArray[Any]]:
    count = sum(name.startswith(prefix) for name in arrays)
    return [arrays[f"{prefix}{i}"] for i in range(count)]
