"""MPII Human Pose from its MATLAB annotations and images (Andriluka et al., CVPR 2014).

The labels of MPII's own test part are not public, so validation is a part of its training images. Where
``annot/valid.json`` is there (the validation list of Tompson et al., CVPR 2015, as the pose networks' public code
ships it), the images that it names validate, and scores compare with published ones; otherwise every tenth image does.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks import pose
from dyn2trt.tasks.augment import generator_of, to_tensor
from dyn2trt.tasks.task import Task, data_folder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
ANNOTATIONS = "mpii_human_pose_v1_u12_1.mat"
LAYOUT = f"""\
  images/*.jpg              from http://human-pose.mpi-inf.mpg.de/
  {ANNOTATIONS}
  annot/valid.json          optional: the list of validation images that published scores use"""

_SCALE, _ROTATION = 0.25, 30.0
_HEAD = 0.6


@dataclass(frozen=True)
class Person:
    """One annotated person; lengths and positions in pixels of the image, the first pixel's centre at 0.

    Attributes:
        image: file name.
        centre: x and y.
        side: of the square that holds the person.
        joints: float64 [16, 2], x and y; 0 where there is no annotation.
        annotated: bool [16].
        head: PCKh's unit, 0.6 of the head box's diagonal.
    """

    image: str
    centre: tuple[float, float]
    side: float
    joints: NDArray[np.float64]
    annotated: NDArray[np.bool_]
    head: float


def read_annotations(path: Path) -> list[Person]:
    """Read the training people of MPII's annotations, those with joints, a head box, a scale and a position.

    Raises:
        MissingDependency: SciPy is not installed.
        Dyn2trtError: the file is not MPII's.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingDependency("mpii's annotations need SciPy; pip install 'dyn2trt[train]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            release = loadmat(str(path), struct_as_record=False, squeeze_me=True)["RELEASE"]
        training = np.atleast_1d(release.img_train)
        return [
            person
            for image, is_training in zip(np.atleast_1d(release.annolist), training, strict=True)
            if is_training
            for person in _people(image)
        ]
    except (KeyError, AttributeError, ValueError, TypeError, NotImplementedError, OSError, MatReadError) as error:
        raise Dyn2trtError(f"{path} does not read as MPII's annotations: {error}") from error


def _people(image: Any) -> Iterator[Person]:
    for rectangle in np.atleast_1d(image.annorect):
        fields = getattr(rectangle, "_fieldnames", ())
        # Absent fields and empty arrays both mean: not annotated.
        if not all(np.size(getattr(rectangle, name, ())) for name in ("annopoints", "scale", "objpos", "x1")):
            continue
        assert fields
        joints, annotated = np.zeros((16, 2)), np.zeros(16, bool)
        for point in np.atleast_1d(rectangle.annopoints.point):
            joints[int(point.id)] = point.x - 1, point.y - 1  # MATLAB counts from 1
            annotated[int(point.id)] = True
        scale = float(rectangle.scale)
        x, y = float(rectangle.objpos.x) - 1, float(rectangle.objpos.y) - 1
        diagonal = float(np.hypot(rectangle.x2 - rectangle.x1, rectangle.y2 - rectangle.y1))
        # As usual for MPII: a little lower and wider than annotated, so that no limb is cut; 200 px is scale 1.
        centre = (x, y + 15 * scale)
        yield Person(str(image.image.name), centre, 200 * 1.25 * scale, joints, annotated, _HEAD * diagonal)


def crop_matrix(person: Person, size: int, *, zoom: float, degrees: float, mirrored: bool) -> NDArray[np.float64]:
    """The affine map [2, 3] from positions in the image to positions in an input of ``size``²."""
    turn, scale = np.deg2rad(degrees), size / (person.side * zoom)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirrored:
        rotation = rotation @ np.diag([-1.0, 1.0])
    shift = size / 2 - rotation @ np.array(person.centre)
    return np.column_stack([rotation, shift])


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of an affine map [2, 3]."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def warp(image: Image.Image, matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Cut the image by a map from `crop_matrix`: RGB uint8 [size, size, 3], black beyond the border."""
    back = inverse(matrix)
    # Pillow's positions have pixel centres at 0.5.
    offset = back[:, 2] + 0.5 - 0.5 * back[:, :2].sum(axis=1)
    data = (*back[0, :2], offset[0], *back[1, :2], offset[1])
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))


class People:
    """People cut out of their images; the training part is scaled, turned and mirrored at random.

    Raises:
        Dyn2trtError: when reading, an image that is missing or cannot be read.
    """

    def __init__(self, folder: Path, people: list[Person], size: int, seed: int | None) -> None:
        self._folder, self._people, self._size, self._seed = folder, people, size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The crop, and the targets that `dyn2trt.tasks.pose` names."""
        person = self._people[index]
        zoom, degrees, mirrored = 1.0, 0.0, False
        if self._seed is not None:
            draw = generator_of(self._seed, self._epoch, index)
            zoom = float(np.clip(1 + _SCALE * draw.standard_normal(), 1 - _SCALE, 1 + _SCALE))
            if draw.random() < 0.6:
                degrees = float(np.clip(_ROTATION * draw.standard_normal(), -2 * _ROTATION, 2 * _ROTATION))
            mirrored = bool(draw.random() < 0.5)
        matrix = crop_matrix(person, self._size, zoom=zoom, degrees=degrees, mirrored=mirrored)
        file = self._folder / "images" / person.image
        try:
            with Image.open(file) as image:
                picture = warp(image.convert("RGB"), matrix, self._size)
        except (OSError, ValueError, SyntaxError) as error:
            raise Dyn2trtError(f"cannot read {file} as an image: {error}") from error
        joints, annotated = person.joints, person.annotated
        if mirrored:
            joints, annotated = joints[list(pose.MIRRORED)], annotated[list(pose.MIRRORED)]
        target = pose_target(joints, annotated, person.head, matrix, self._size)
        return to_tensor(picture, MEAN, STD), target


def pose_target(
    joints: NDArray[np.float64], annotated: NDArray[np.bool_], head: float, matrix: NDArray[np.float64], size: int
) -> dict[str, Tensor]:
    """What `dyn2trt.tasks.pose` needs of one picture that ``matrix`` maps to an input of ``size``²."""
    in_input = joints @ matrix[:, :2].T + matrix[:, 2]
    side = size // pose.STRIDE
    maps, visible = pose.heat_maps(in_input, annotated, (side, side))
    to_picture = inverse(matrix)
    to_picture[:, :2] *= pose.STRIDE
    return {
        "heat_maps": torch.from_numpy(maps),
        "visible": torch.from_numpy(visible),
        "annotated": torch.from_numpy(np.array(annotated)),
        "joints": torch.from_numpy(joints.astype(np.float32)),
        "head": torch.tensor(head, dtype=torch.float32),
        "to_picture": torch.from_numpy(to_picture.astype(np.float32)),
    }


def divide(people: list[Person], folder: Path) -> tuple[list[Person], list[Person]]:
    """Training and validation people, by image: `Tompson et al.'s list where it is there, else every tenth image."""
    listed = folder / "annot" / "valid.json"
    if listed.exists():
        held_out = {entry["image"] for entry in json.loads(listed.read_text(encoding="utf-8"))}
    else:
        held_out = set(sorted({person.image for person in people})[::10])
    return [p for p in people if p.image not in held_out], [p for p in people if p.image in held_out]


def make_task(settings: TrainSection, size: tuple[int, int]) -> Task:
    """Read MPII from ``data``."""
    if size[0] != size[1]:
        raise Dyn2trtError(f"mpii cuts squares out of its images; the recipe's input shape says {size[0]}x{size[1]}")
    folder = data_folder(settings, LAYOUT, ("images", ANNOTATIONS))
    train, validation = divide(read_annotations(folder / ANNOTATIONS), folder)
    if not train or not validation:
        raise Dyn2trtError(
            f"{folder / ANNOTATIONS} gives {len(train)} people to train on and {len(validation)} to check"
        )
    return Task(
        about="MPII Human Pose; validation is a part of its training images",
        train=People(folder, train, size[0], settings.seed),
        validation=People(folder, validation, size[0], None),
        test=None,
        check=pose.check(size),
        loss=pose.loss,
        counts=pose.counts,
        scores=pose.scores,
        mean=MEAN,
        std=STD,
    )
