"""CIFAR-10 from its Python batches (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

As published, networks are trained on all five batches and validated on the test batch: the best epoch's accuracy is
chosen on the data that it is reported on.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks import classification
from dyn2trt.tasks.augment import generator_of, padded_crop, to_tensor
from dyn2trt.tasks.task import Task, data_folder

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
"""The authors' values; the standard deviation is the mean over images of each image's own."""

TRAIN = tuple(f"data_batch_{index}" for index in range(1, 6))
TEST = ("test_batch",)
LAYOUT = """\
  cifar-10-batches-py/      "CIFAR-10 python version", https://www.cs.toronto.edu/~kriz/cifar.html
    data_batch_1 ... data_batch_5
    test_batch"""

_ALLOWED = {
    ("_codecs", "encode"),  # how Python 3 writes bytes at protocol 2
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _ArraysOnly(pickle.Unpickler):
    """The batches are pickles; nothing but arrays is made from them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch: RGB uint8 [N, 32, 32, 3] and labels int64 [N].

    Raises:
        Dyn2trtError: the file is no such batch.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
        pixels, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"], np.int64)
        pictures = pixels.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Dyn2trtError(f"{path} is no batch of CIFAR-10's Python version: {error}") from error
    return pictures.astype(np.uint8), labels


class Cifar10:
    """The images of some batches; the training part is cropped and flipped at random."""

    def __init__(self, folder: Path, batches: tuple[str, ...], seed: int | None) -> None:
        parts = [read_batch(folder / name) for name in batches]
        self.pictures = np.concatenate([pictures for pictures, _ in parts])
        self.labels = np.concatenate([labels for _, labels in parts])
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The image float32 [3, 32, 32], and ``label`` int64 []."""
        picture = self.pictures[index]
        if self._seed is not None:
            picture = padded_crop(picture, 4, generator_of(self._seed, self._epoch, index))
        return to_tensor(picture, MEAN, STD), {"label": torch.tensor(self.labels[index])}


def make_task(settings: TrainSection, size: tuple[int, int]) -> Task:
    """Read CIFAR-10 from ``data``, the folder that holds its batches, or the one above it."""
    if size != (32, 32):
        raise Dyn2trtError(f"cifar10 has images of 32x32; the recipe's input shape says {size[0]}x{size[1]}")
    assert settings.data is not None
    inner = "" if (settings.data / TEST[0]).exists() else "cifar-10-batches-py/"
    folder = data_folder(settings, LAYOUT, tuple(inner + name for name in (*TRAIN, *TEST))) / inner
    return Task(
        about="CIFAR-10; validation is its test batch",
        train=Cifar10(folder, TRAIN, settings.seed),
        validation=Cifar10(folder, TEST, None),
        test=None,
        check=classification.check(10),
        loss=classification.cross_entropy(settings.label_smoothing),
        counts=classification.counts,
        scores=classification.scores,
        mean=MEAN,
        std=STD,
    )
