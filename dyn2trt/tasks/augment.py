"""Random crops and flips whose randomness depends on seed, epoch and index alone."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def generator_of(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one image in one epoch, the same in whichever process loads it."""
    return np.random.default_rng([seed, epoch, index])


def to_tensor(picture: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """RGB uint8 [H, W, 3] → float32 [3, H, W], ``(rgb / 255 - mean) / std``."""
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def padded_crop(picture: NDArray[np.uint8], margin: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Pad with black by ``margin`` and crop back to the size at a random place; flip every other time."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)))
    top, left = draw.integers(0, 2 * margin + 1, 2)
    crop = padded[top : top + height, left : left + width]
    return crop[:, ::-1] if draw.random() < 0.5 else crop


def resized_crop(image: Image.Image, size: tuple[int, int], draw: np.random.Generator) -> Image.Image:
    """A random piece of 8 to 100 % of the area and of aspect 3:4 to 4:3, resized to (H, W); flipped every other time.

    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6.
    """
    box = _piece(image.width, image.height, draw)
    crop = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else crop


def _piece(width: int, height: int, draw: np.random.Generator) -> tuple[float, float, float, float]:
    for _ in range(10):
        area = width * height * draw.uniform(0.08, 1)
        aspect = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = draw.uniform(0, width - w), draw.uniform(0, height - h)
            return left, top, left + w, top + h
    # No piece of such an aspect fits: the image's middle, as square as it has to be.
    w, h = min(width, height * 4 / 3), min(height, width * 4 / 3)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def central_crop(image: Image.Image, size: tuple[int, int], margin: float = 0.875) -> Image.Image:
    """The middle of the image, resized so that (H, W) is ``margin`` of what the short side would give."""
    height, width = size
    scale = min(image.width / width, image.height / height) * margin
    w, h = width * scale, height * scale
    left, top = (image.width - w) / 2, (image.height - h) / 2
    return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
