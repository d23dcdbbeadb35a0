"""A made figure with MPII's 16 joints over photographs: the whole path of human pose, with nothing to download.

The photographs are the two that scikit-learn bundles. The left two thirds of each are behind the training figures, the
right third behind the others, so no background is seen in both. Right limbs are warm in colour and left limbs cool,
or nothing would tell them apart.
"""

from __future__ import annotations

import colorsys
import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks import pose
from dyn2trt.tasks.augment import generator_of, to_tensor
from dyn2trt.tasks.mpii import pose_target
from dyn2trt.tasks.task import Task

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
EVALUATED = 400
"""Figures for validation, and as many for the test."""

_STREAMS = {"train": 0, "validation": 1, "test": 2}
_HEAD = 0.6
_WARM, _COOL = (0.93, 1.12), (0.5, 0.68)
"""Ranges of hue."""
_LIMBS = ((0, 1), (1, 2), (3, 4), (4, 5), (10, 11), (11, 12), (13, 14), (14, 15))
"""Pairs of joints."""
_RIGHT = {0, 1, 2, 10, 11, 12}


@dataclass(frozen=True)
class Figure:
    """One made picture.

    Attributes:
        picture: RGB uint8 [H, W, 3].
        joints: float64 [16, 2], x and y.
        head: PCKh's unit, 0.6 of the head box's diagonal.
        covered: bool [H, W], where the figure is drawn.
    """

    picture: NDArray[np.uint8]
    joints: NDArray[np.float64]
    head: float
    covered: NDArray[np.bool_]


@functools.cache
def photographs(part: str) -> tuple[Image.Image, ...]:
    """The bundled photographs' part that lies behind the figures of ``train``, ``validation`` or ``test``.

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependency(
            "the made tasks use scikit-learn's bundled pictures; pip install 'dyn2trt[train]'"
        ) from error
    whole = [Image.fromarray(image) for image in datasets.load_sample_images().images]
    cuts = [image.width * 2 // 3 for image in whole]
    return tuple(
        image.crop((0, 0, cut, image.height) if part == "train" else (cut, 0, image.width, image.height))
        for image, cut in zip(whole, cuts, strict=True)
    )


def make_figure(part: str, size: int, draw: np.random.Generator) -> Figure:
    """Make one picture of ``size``²; the figure is between 45 and 85 % of it tall and may lean, kneel and wave."""
    joints = _joints(draw)
    low, high = joints.min(axis=0), joints.max(axis=0)
    scale = size * draw.uniform(0.45, 0.85) / max(high - low)
    joints = (joints - low) * scale
    extent = (high - low) * scale
    margin = 0.05 * size
    joints += [draw.uniform(margin, max(margin, size - margin - length)) for length in extent]
    background = _background(part, size, draw)
    layer = Image.new("L", (size, size))
    canvas = Image.fromarray(background)
    head_box = _paint(ImageDraw.Draw(canvas), ImageDraw.Draw(layer), joints, draw)
    noise = draw.normal(0, 4, (size, size, 1))
    picture = np.clip(np.asarray(canvas) + noise, 0, 255).round().astype(np.uint8)
    return Figure(picture, joints, _HEAD * head_box, np.asarray(layer) > 0)


def _joints(draw: np.random.Generator) -> NDArray[np.float64]:
    """A skeleton of MPII's joints in units of the body's height or so, y downwards."""

    def step(start: NDArray[np.float64], degrees: float, length: float) -> NDArray[np.float64]:
        turn = np.deg2rad(degrees)  # 0 hangs down, positive turns towards the image's left
        return start + length * np.array([-np.sin(turn), np.cos(turn)])

    joints = np.zeros((16, 2))
    lean, width = draw.normal(0, 12), draw.uniform(0.8, 1.1)
    across = np.array([np.cos(np.deg2rad(lean)), np.sin(np.deg2rad(lean))]) * width
    joints[7] = step(joints[6], lean + 180, 0.30)
    joints[8] = step(joints[7], lean + 180 + draw.normal(0, 6), 0.06)
    joints[9] = step(joints[8], lean + 180 + draw.normal(0, 10), 0.15)
    # The figure faces us: its right is on the left of the picture.
    for side, hip, knee, ankle, shoulder, elbow, wrist in ((1, 2, 1, 0, 12, 11, 10), (-1, 3, 4, 5, 13, 14, 15)):
        joints[hip] = joints[6] - side * 0.07 * across
        thigh = side * draw.uniform(-5, 45) + lean
        joints[knee] = step(joints[hip], thigh, 0.25)
        joints[ankle] = step(joints[knee], thigh - side * draw.uniform(-10, 50), 0.25)
        joints[shoulder] = joints[7] - side * 0.11 * across
        arm = side * draw.uniform(0, 150) + lean
        joints[elbow] = step(joints[shoulder], arm, 0.17)
        joints[wrist] = step(joints[elbow], arm + side * draw.uniform(-60, 90), 0.15)
    return joints


def _background(part: str, size: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    sources = photographs(part)
    source = sources[draw.integers(len(sources))]
    side = int(draw.uniform(0.4, 1.0) * min(source.size))
    left, top = (int(draw.integers(0, length - side + 1)) for length in source.size)
    crop = source.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    picture = np.asarray(crop)
    return picture[:, ::-1].copy() if draw.random() < 0.5 else picture.copy()


def _paint(
    canvas: ImageDraw.ImageDraw, layer: ImageDraw.ImageDraw, joints: NDArray[np.float64], draw: np.random.Generator
) -> float:
    """Draw the figure on the picture, and on the layer that says where; returns the diagonal of the head's box."""
    neck, top = joints[8], joints[9]
    length = float(np.linalg.norm(top - neck))
    thick = max(2, round(0.42 * length * draw.uniform(0.85, 1.15)))

    def both(shape: str, points: NDArray[np.float64], colour: tuple[int, int, int], **options: int) -> None:
        flat = [float(value) for value in points.ravel()]
        getattr(canvas, shape)(flat, fill=colour, **options)
        getattr(layer, shape)(flat, fill=255, **options)

    def capsule(first: int, second: int, colour: tuple[int, int, int], width: int) -> None:
        both("line", joints[[first, second]], colour, width=width)
        for joint in (first, second):
            both("ellipse", np.stack([joints[joint] - width / 2, joints[joint] + width / 2]), colour)

    torso = _colour(draw, (0.2, 0.42))
    both("polygon", joints[[12, 13, 3, 2]], torso)
    capsule(7, 6, torso, thick)
    capsule(7, 8, torso, max(2, thick // 2))
    for limb in draw.permutation(len(_LIMBS)):
        first, second = _LIMBS[limb]
        capsule(first, second, _colour(draw, _WARM if first in _RIGHT else _COOL), thick)
    centre, radius = (neck + top) / 2, length / 2
    both("ellipse", np.stack([centre - radius, centre + radius]), _colour(draw, (0.05, 0.12)))
    return float(np.hypot(2 * radius, 2 * radius))


def _colour(draw: np.random.Generator, hue: tuple[float, float]) -> tuple[int, int, int]:
    rgb = colorsys.hsv_to_rgb(draw.uniform(*hue) % 1, draw.uniform(0.6, 1), draw.uniform(0.55, 1))
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue


class Figures:
    """Figures as a data set; the training part makes new ones every epoch, the others keep theirs."""

    def __init__(self, part: str, count: int, size: int, seed: int) -> None:
        self._part, self._count, self._size, self._seed, self._epoch = part, count, size, seed, 0
        photographs(part)  # say at once when scikit-learn is missing

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch if self._part == "train" else 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The picture, the targets that `dyn2trt.tasks.pose` names, and ``object`` bool [H, W]."""
        draw = generator_of(self._seed * len(_STREAMS) + _STREAMS[self._part], self._epoch, index)
        figure = make_figure(self._part, self._size, draw)
        unmoved = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        target = pose_target(figure.joints, np.ones(16, bool), figure.head, unmoved, self._size)
        target["object"] = torch.from_numpy(figure.covered)
        return to_tensor(figure.picture, MEAN, STD), target


def make_task(settings: TrainSection, size: tuple[int, int]) -> Task:
    """Square pictures; ``samples`` (default 2000) an epoch, `EVALUATED` each for validation and test."""
    if size[0] != size[1] or size[0] % 64:
        raise Dyn2trtError(f"figures are squares whose side is a multiple of 64, not {size[0]}x{size[1]}")
    # Validation and test are the same for every seed of training, so that runs can be compared.
    return Task(
        about="a made 16-joint figure over scikit-learn's bundled photographs",
        train=Figures("train", settings.samples or 2000, size[0], settings.seed),
        validation=Figures("validation", EVALUATED, size[0], seed=0),
        test=Figures("test", EVALUATED, size[0], seed=0),
        check=pose.check(size),
        loss=pose.loss,
        counts=pose.counts,
        scores=pose.scores,
        mean=MEAN,
        std=STD,
    )
