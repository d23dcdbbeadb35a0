"""Handwritten digits at random scale and place on cluttered canvases: 10 classes, nothing to download.

The digits are scikit-learn's bundled set, the test part of Alpaydin & Kaynak's "Optical Recognition of Handwritten
Digits" (UCI, 1998): 1797 pictures of 8×8 by 13 writers. Who wrote which is not recorded; the division below is by
contiguous runs of the file, so that neighbours, which may be of one hand, stay in one part.
Canvases follow the cluttered digits of Mnih et al., "Recurrent Models of Visual Attention", NIPS 2014: pieces of
other digits of the same part, strokes and noise lie about.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks import classification
from dyn2trt.tasks.task import Task

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)

EVALUATED = 900
"""Canvases for validation, and as many for the test."""

PARTS = {"train": slice(0, 1197), "validation": slice(1197, 1497), "test": slice(1497, 1797)}
_STREAMS = {"train": 0, "validation": 1, "test": 2}
_PIECES = 5


@dataclass(frozen=True)
class Canvases:
    """Made pictures.

    Attributes:
        pictures: RGB uint8 [N, H, W, 3].
        labels: int64 [N].
        objects: bool [N, H, W], the digit's bounding square.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    objects: NDArray[np.bool_]


@functools.cache
def load_digits(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The digits of ``train``, ``validation`` or ``test``: float32 [N, 8, 8] from 0 (paper) to 1 (ink), and labels.

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependency(
            "the made tasks use scikit-learn's bundled pictures; pip install 'dyn2trt[train]'"
        ) from error
    digits = datasets.load_digits()
    chosen = PARTS[part]
    return (digits.images[chosen] / 16).astype(np.float32), digits.target[chosen].astype(np.int64)


def make_canvases(part: str, count: int, size: tuple[int, int], *, seed: int, epoch: int = 0) -> Canvases:
    """Make ``count`` canvases of ``size`` (H, W) from the digits of one part.

    The same arguments give the same canvases; each part draws from a random stream of its own. The digit's side is
    between a quarter and a half of the canvas's.
    """
    glyphs, labels = load_digits(part)
    draw = np.random.default_rng([seed, _STREAMS[part], epoch])
    height, width = size
    chosen = draw.permutation(np.arange(count) % len(glyphs))
    pictures = np.empty((count, height, width, 3), np.uint8)
    objects = np.zeros((count, height, width), bool)
    for index, glyph in enumerate(chosen):
        ink, box = _canvas(draw, glyphs, glyph, height, width)
        paper, pen = _two_colours(draw)
        noise = draw.normal(0, 8, (height, width, 1))
        pictures[index] = np.clip(paper + (pen - paper) * ink[..., None] + noise, 0, 255).round()
        top, left, side = box
        objects[index, top : top + side, left : left + side] = True
    return Canvases(pictures, labels[chosen], objects)


def _canvas(
    draw: np.random.Generator, glyphs: NDArray[np.float32], glyph: int, height: int, width: int
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Ink of one canvas, float32 [H, W] from 0 to 1, and the digit's (top, left, side)."""
    short = min(height, width)
    side = int(draw.integers(short // 4, short // 2 + 1))
    top, left = int(draw.integers(0, height - side + 1)), int(draw.integers(0, width - side + 1))
    ink = np.zeros((height, width), np.float32)
    for _ in range(_PIECES):
        _add_piece(draw, ink, glyphs, short)
    # Nothing may lie on the digit: what the class is has to be legible.
    ink[top : top + side, left : left + side] = _resized(glyphs[glyph], side)
    return ink, (top, left, side)


def _add_piece(draw: np.random.Generator, ink: NDArray[np.float32], glyphs: NDArray[np.float32], short: int) -> None:
    """A quarter of some digit, at some scale and place: local strokes that make no digit."""
    quarter = glyphs[draw.integers(len(glyphs))]
    row, column = draw.integers(0, 5, 2)
    side = int(draw.integers(short // 10, short // 5 + 1))
    piece = _resized(quarter[row : row + 4, column : column + 4], side)
    top, left = int(draw.integers(0, ink.shape[0] - side + 1)), int(draw.integers(0, ink.shape[1] - side + 1))
    patch = ink[top : top + side, left : left + side]
    np.maximum(patch, piece, out=patch)


def _resized(glyph: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(glyph).resize((side, side), Image.Resampling.BILINEAR))


def _two_colours(draw: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Paper and pen, RGB 0..255, light on dark."""
    return draw.uniform(0, 90, 3), draw.uniform(165, 255, 3)


class DigitCanvases:
    """Canvases of one part as a data set; the training part makes new ones every epoch, the others keep theirs."""

    def __init__(self, part: str, count: int, size: tuple[int, int], seed: int) -> None:
        self._part, self._count, self._size, self._seed = part, count, size, seed
        self._epoch: int | None = None
        self._canvases: Canvases | None = None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        epoch = epoch if self._part == "train" else 0
        if epoch != self._epoch:
            self._canvases = make_canvases(self._part, self._count, self._size, seed=self._seed, epoch=epoch)
            self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The canvas, and ``label`` int64 [] and ``object`` bool [H, W]."""
        assert self._canvases is not None
        picture = torch.from_numpy(self._canvases.pictures[index]).permute(2, 0, 1).float() / 255
        image = (picture - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        label, box = self._canvases.labels[index], self._canvases.objects[index]
        return image, {"label": torch.tensor(label), "object": torch.from_numpy(box)}


def make_task(settings: TrainSection, size: tuple[int, int]) -> Task:
    """Canvases of ``size``; ``samples`` (default 3000) an epoch, `EVALUATED` each for validation and test."""
    if min(size) < 32:
        raise Dyn2trtError(f"digits needs canvases of at least 32x32 to place digits on, not {size[0]}x{size[1]}")
    # Validation and test are the same for every seed of training, so that runs can be compared.
    return Task(
        about="handwritten digits (scikit-learn's bundled set) at random scale and place on cluttered canvases",
        train=DigitCanvases("train", settings.samples or 3000, size, settings.seed),
        validation=DigitCanvases("validation", EVALUATED, size, seed=0),
        test=DigitCanvases("test", EVALUATED, size, seed=0),
        check=classification.check(10),
        loss=classification.cross_entropy(settings.label_smoothing),
        counts=classification.counts,
        scores=classification.scores,
        mean=MEAN,
        std=STD,
    )
