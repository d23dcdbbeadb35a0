"""ImageNet, or any data set with a folder for each class (Russakovsky et al., IJCV 2015)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.images import SUFFIXES, is_image_name
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks import classification
from dyn2trt.tasks.augment import central_crop, generator_of, resized_crop, to_tensor
from dyn2trt.tasks.task import Task, data_folder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LAYOUT = """\
  train/n01440764/*.JPEG    a folder for each class, the same in both; labels follow the folders' alphabetical order
  val/n01440764/*.JPEG      the validation images sorted into their classes' folders"""


class ImageFolders:
    """Images in one folder a class; the training part is cropped and flipped at random.

    Raises:
        Dyn2trtError: no image there; when reading, an image that cannot be read.
    """

    def __init__(self, folder: Path, classes: list[str], size: tuple[int, int], seed: int | None) -> None:
        self._files = [
            (file, label)
            for label, name in enumerate(classes)
            for file in sorted((folder / name).iterdir())
            if is_image_name(file)
        ]
        if not self._files:
            raise Dyn2trtError(f"no image in the folders of {folder}: looked for {', '.join(SUFFIXES)}")
        self._size, self._seed, self._epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The image float32 [3, H, W], and ``label`` int64 []."""
        file, label = self._files[index]
        try:
            with Image.open(file) as image:
                rgb = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Dyn2trtError(f"cannot read {file} as an image: {error}") from error
        if self._seed is None:
            crop = central_crop(rgb, self._size)
        else:
            crop = resized_crop(rgb, self._size, generator_of(self._seed, self._epoch, index))
        return to_tensor(np.asarray(crop), MEAN, STD), {"label": torch.tensor(label)}


def make_task(settings: TrainSection, size: tuple[int, int]) -> Task:
    """Find the images under ``data``; the validation images are ImageNet's, whose test labels are not public."""
    folder = data_folder(settings, LAYOUT, ("train", "val"))
    classes, others = (
        sorted(path.name for path in (folder / part).iterdir() if path.is_dir() and not path.name.startswith("."))
        for part in ("train", "val")
    )
    if classes != others or not classes:
        odd = sorted(set(classes) ^ set(others))[:3]
        raise Dyn2trtError(
            f"train has {len(classes)} class folders and val {len(others)} in {folder}"
            f"{', among them only in one: ' + ', '.join(odd) if odd else ''}; train.data names the folder that holds:\n"
            f"{LAYOUT}"
        )
    return Task(
        about="ImageNet, or another set with a folder for each class",
        train=ImageFolders(folder / "train", classes, size, settings.seed),
        validation=ImageFolders(folder / "val", classes, size, None),
        test=None,
        check=classification.check(len(classes)),
        loss=classification.cross_entropy(settings.label_smoothing),
        counts=classification.counts,
        scores=classification.scores,
        mean=MEAN,
        std=STD,
    )
